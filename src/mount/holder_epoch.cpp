#include "mount/holder_epoch.hpp"

#include "base/file.hpp"
#include "base/random_id.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace hearth::mount {

namespace {
constexpr const char* kEpoch = "imagefs/epoch";
}  // namespace

Result<HolderEpoch> HolderEpoch::adopt(holder::Client& client) {
  HolderEpoch epoch;
  if (auto kept = client.get(kEpoch)) {
    std::array<char, 64> text{};
    const ssize_t size = ::pread(kept->get(), text.data(), text.size(), 0);
    if (size > 0) {
      epoch.name_.assign(text.data(), static_cast<size_t>(size));
      epoch.file_ = std::move(*kept);
      return epoch;
    }
  }
  epoch.name_ = random_id(16);
  epoch.file_ = UniqueFd(::memfd_create("hearth-epoch", MFD_CLOEXEC));
  if (!epoch.file_) return fail_errno("make a file in memory", errno);
  TRY_VOID(write_all(epoch.file_.get(), epoch.name_, "the epoch"));
  TRY_VOID(epoch.keep(client));
  return epoch;
}

Result<> HolderEpoch::keep(holder::Client& client) const {
  return client.put(kEpoch, file_.get());
}

}  // namespace hearth::mount
