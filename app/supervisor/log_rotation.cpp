#include "supervisor/log_rotation.hpp"

#include "base/file.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace hearth::supervisor {

namespace {

std::filesystem::path numbered(const std::filesystem::path& log, int number) {
  return log.string() + "." + std::to_string(number);
}

}  // namespace

Result<> rotate_log(const std::filesystem::path& log, const RotationLimits& limits) {
  std::error_code error;
  const uintmax_t size = std::filesystem::file_size(log, error);
  if (error || size <= limits.size_max_bytes) return {};
  for (int number = limits.kept - 1; number >= 1; --number) {
    std::filesystem::rename(numbered(log, number), numbered(log, number + 1), error);
  }
  std::filesystem::copy_file(log, numbered(log, 1), std::filesystem::copy_options::overwrite_existing, error);
  if (error) return fail_errno("rotate " + log.string(), error.value());
  if (::truncate(log.c_str(), 0) != 0) return fail_errno("empty " + log.string(), errno);
  return {};
}

std::string log_tail(const std::filesystem::path& log, size_t lines, uint64_t from_bytes) {
  constexpr uintmax_t kTailBytes = 16 * 1024;
  std::error_code error;
  const uintmax_t size = std::filesystem::file_size(log, error);
  auto fd = open_file(log, 0);
  if (error || !fd || size <= from_bytes) return "";
  std::string text(std::min(size - from_bytes, kTailBytes), '\0');
  const ssize_t got = ::pread(fd->get(), text.data(), text.size(), static_cast<off_t>(size - text.size()));
  text.resize(static_cast<size_t>(std::max<ssize_t>(got, 0)));
  while (text.ends_with('\n')) text.pop_back();
  size_t begin = text.size();
  for (size_t line = 0; line < lines && begin != std::string::npos && begin > 0; ++line) {
    begin = text.rfind('\n', begin - 1);
  }
  return begin == std::string::npos || begin == 0 ? text : text.substr(begin + 1);
}

}  // namespace hearth::supervisor
