#include "holder/oom_protection.hpp"

#include "base/file.hpp"
#include "base/log.hpp"

#include <fcntl.h>

namespace hearth::holder {

namespace {
constexpr const char* kNeverKilled = "-1000";  // OOM_SCORE_ADJ_MIN

Result<> set_oom_score(std::string_view score) {
  TRY(const auto file, open_file(kOomScoreFile, O_WRONLY));
  return write_all(file.get(), score, kOomScoreFile);
}
}  // namespace

std::string protect_from_oom_killer() {
  auto before = read_file(kOomScoreFile);
  auto set = before ? set_oom_score(kNeverKilled) : Result<>(Unexpected(before.error()));
  if (set) return std::move(*before);
  log_debug("the kernel may choose the holder when memory runs out", {{"error", set.error().message}});
  return {};
}

}  // namespace hearth::holder
