#include "base/fanotify.hpp"

#include <fcntl.h>

#include <cerrno>
#include <string>

namespace hearth::fanotify {

namespace {

/// Marks go by path; this one names the open file itself.
std::string path_of(int file) {
  return "/proc/self/fd/" + std::to_string(file);
}

}  // namespace

Result<UniqueFd> open_group() {
  constexpr unsigned kFlags =
      FAN_CLASS_PRE_CONTENT | FAN_NONBLOCK | FAN_UNLIMITED_QUEUE | FAN_UNLIMITED_MARKS | FAN_CLOEXEC;
  UniqueFd group(::fanotify_init(kFlags, O_RDWR | O_LARGEFILE | O_CLOEXEC));
  if (group) return group;
  if (errno == EPERM) return fail(ErrorCode::unavailable, "pre-content events need CAP_SYS_ADMIN on the host");
  if (errno == EINVAL || errno == ENOSYS) {
    return fail(ErrorCode::unavailable, "this kernel was built without fanotify permission events");
  }
  return fail_errno("open a fanotify group", errno);
}

Result<> mark(int group, int file) {
  if (::fanotify_mark(group, FAN_MARK_ADD, kPreAccess, AT_FDCWD, path_of(file).c_str()) == 0) return {};
  if (errno == EINVAL) return fail(ErrorCode::unavailable, "this kernel has no pre-content events (Linux 6.14)");
  if (errno == EOPNOTSUPP) {
    return fail(ErrorCode::unavailable, "the cache's file system raises no pre-content events; ext4, xfs and btrfs do");
  }
  return fail_errno("mark a file for pre-content events", errno);
}

Result<> unmark(int group, int file) {
  if (::fanotify_mark(group, FAN_MARK_REMOVE, kPreAccess, AT_FDCWD, path_of(file).c_str()) == 0) return {};
  if (errno == ENOENT) return {};
  return fail_errno("unmark a file", errno);
}

}  // namespace hearth::fanotify
