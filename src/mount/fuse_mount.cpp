#include "mount/fuse_mount.hpp"

#include "base/file.hpp"

#include <fmt/format.h>

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>
#include <utility>

namespace hearth::mount {

namespace {

constexpr const char* kDevice = "/dev/fuse";
constexpr const char* kFileSystem = "fuse";
constexpr const char* kRootMode = "40000";  // octal: a directory; the rest comes with its attributes

}  // namespace

Result<UniqueFd> open_fuse_device() {
  return open_file(kDevice, O_RDWR | O_NONBLOCK);
}

Result<UniqueFd> begin_fuse_mount(int device) {
  UniqueFd context(::fsopen(kFileSystem, FSOPEN_CLOEXEC));
  if (!context) return fail_errno("make a FUSE mount", errno);
  const std::string fd = std::to_string(device);
  const std::string max_read = std::to_string(kFuseRequestBytes);
  const std::array<std::pair<const char*, const char*>, 6> settings{{{"source", "hearth"},
                                                                     {"fd", fd.c_str()},
                                                                     {"rootmode", kRootMode},
                                                                     {"user_id", "0"},
                                                                     {"group_id", "0"},
                                                                     {"max_read", max_read.c_str()}}};
  for (const auto& [key, value] : settings) {
    if (::fsconfig(context.get(), FSCONFIG_SET_STRING, key, value, 0) != 0) {
      return fail_errno("make a FUSE mount: " + std::string(key), errno);
    }
  }
  for (const char* flag : {"allow_other", "default_permissions", "ro"}) {
    if (::fsconfig(context.get(), FSCONFIG_SET_FLAG, flag, nullptr, 0) != 0) {
      return fail_errno("make a FUSE mount: " + std::string(flag), errno);
    }
  }
  if (::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) {
    return fail_errno("make a FUSE mount", errno);
  }
  return context;
}

Result<UniqueFd> finish_fuse_mount(int context) {
  UniqueFd mount(::fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY));
  if (!mount) return fail_errno("make a FUSE mount", errno);
  return mount;
}

Result<> set_fuse_read_ahead(int mount, uint32_t kib) {
  struct statx status{};
  if (::statx(mount, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &status) != 0) {
    return fail_errno("look at a FUSE mount", errno);
  }
  const std::string setting =
      fmt::format("/sys/class/bdi/{}:{}/read_ahead_kb", status.stx_dev_major, status.stx_dev_minor);
  TRY(const auto file, open_file(setting, O_WRONLY));
  return write_all(file.get(), std::to_string(kib), setting);
}

}  // namespace hearth::mount
