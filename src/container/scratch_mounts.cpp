#include "container/scratch_mounts.hpp"

#include "base/random_id.hpp"
#include "container/layer_stack.hpp"

#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace hearth::container {

Result<ScratchMounts> ScratchMounts::open(const std::filesystem::path& below) {
  auto directory = below / ("hs." + random_id(6));
  if (::mkdir(directory.c_str(), 0700) != 0) return fail_errno("make " + directory.string(), errno);
  return ScratchMounts(std::move(directory));
}

ScratchMounts::ScratchMounts(ScratchMounts&& other) noexcept
    : directory_(std::exchange(other.directory_, {})), points_(std::exchange(other.points_, {})) {}

ScratchMounts::~ScratchMounts() {
  for (auto point = points_.rbegin(); point != points_.rend(); ++point) {
    ::umount2(point->c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
    ::rmdir(point->c_str());
  }
  if (!directory_.empty()) ::rmdir(directory_.c_str());
}

Result<std::filesystem::path> ScratchMounts::reserve() {
  auto point = directory_ / std::to_string(points_.size());
  if (::mkdir(point.c_str(), 0700) != 0) return fail_errno("make " + point.string(), errno);
  points_.push_back(point);
  return point;
}

Result<std::filesystem::path> ScratchMounts::attach(int mount_fd) {
  TRY(auto point, reserve());
  TRY_VOID(attach_mount(mount_fd, point));
  return point;
}

}  // namespace hearth::container
