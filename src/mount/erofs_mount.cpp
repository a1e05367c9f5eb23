#include "mount/erofs_mount.hpp"

#include "base/file.hpp"

#include <climits>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <string_view>

namespace hearth::mount {

namespace {

constexpr const char* kFileSystem = "erofs";

/// linux/fs.h of Linux 6.10, which older headers lack.
struct SysfsPath {
  uint8_t length;
  char name[128];
};
constexpr unsigned long kGetSysfsPath = _IOR(0x15, 1, SysfsPath);

std::string proc_path(int fd) {
  return "/proc/self/fd/" + std::to_string(fd);
}

/// The path of a file as people know it, for the mount table; the one in /proc when it has another name by now.
std::string shown_path(int fd) {
  char path[PATH_MAX];
  const ssize_t length = ::readlink(proc_path(fd).c_str(), path, sizeof path);
  if (length <= 0 || static_cast<size_t>(length) >= sizeof path) return proc_path(fd);
  std::string name(path, static_cast<size_t>(length));
  struct stat there{};
  struct stat here{};
  const bool same = ::stat(name.c_str(), &there) == 0 && ::fstat(fd, &here) == 0 && there.st_dev == here.st_dev &&
                    there.st_ino == here.st_ino;
  return same ? name : proc_path(fd);
}

/// With what the kernel has to say about it, if anything.
Unexpected refused(int context, std::string_view what, int error) {
  std::string text(what);
  char line[512];
  for (;;) {
    const ssize_t got = ::read(context, line, sizeof line);
    if (got <= 0) break;
    text += ": ";
    text.append(line, static_cast<size_t>(got));
    while (text.ends_with('\n')) text.pop_back();
  }
  return fail_errno(text, error);
}

}  // namespace

Result<UniqueFd> mount_erofs(int image, std::span<const int> devices) {
  const UniqueFd context(::fsopen(kFileSystem, FSOPEN_CLOEXEC));
  if (!context) return fail_errno("mount an EROFS image", errno);
  if (::fsconfig(context.get(), FSCONFIG_SET_STRING, "source", shown_path(image).c_str(), 0) != 0)
    return refused(context.get(), "mount an EROFS image: its file", errno);
  for (const int device : devices) {
    if (::fsconfig(context.get(), FSCONFIG_SET_STRING, "device", proc_path(device).c_str(), 0) != 0)
      return refused(context.get(), "mount an EROFS image: a device", errno);
  }
  if (::fsconfig(context.get(), FSCONFIG_SET_FLAG, "ro", nullptr, 0) != 0 ||
      ::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) {
    return refused(context.get(), "mount an EROFS image", errno);
  }
  UniqueFd mount(::fsmount(context.get(), FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY));
  if (!mount) return refused(context.get(), "mount an EROFS image", errno);
  return mount;
}

Result<> set_erofs_direct_reads(int mount, bool direct) {
  const UniqueFd context(::fspick(mount, "", FSPICK_CLOEXEC | FSPICK_EMPTY_PATH));
  if (!context) return fail_errno("open an EROFS mount to change it", errno);
  // The kernel takes all options anew: what is not named becomes its default again.
  if ((direct && ::fsconfig(context.get(), FSCONFIG_SET_FLAG, "directio", nullptr, 0) != 0) ||
      ::fsconfig(context.get(), FSCONFIG_CMD_RECONFIGURE, nullptr, nullptr, 0) != 0) {
    return refused(context.get(), "change how an EROFS mount reads", errno);
  }
  return {};
}

Result<> set_erofs_read_ahead(int mount, uint32_t kib) {
  const UniqueFd root(::openat(mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root) return fail_errno("open an EROFS mount", errno);
  SysfsPath path{};
  if (::ioctl(root.get(), kGetSysfsPath, &path) != 0)
    return fail(ErrorCode::unavailable, "the kernel does not say where in /sys an EROFS mount is shown");
  // "erofs/erofs-7": a file-backed mount is shown by the name of its backing device, which holds the read-ahead.
  std::string_view name(path.name, path.length);
  if (!name.starts_with("erofs/erofs-"))
    return fail(ErrorCode::unavailable, "an EROFS mount is not shown by the name of its backing device");
  name.remove_prefix(std::string_view("erofs/").size());
  const std::string setting = "/sys/class/bdi/" + std::string(name) + "/read_ahead_kb";
  TRY(const auto file, open_file(setting, O_WRONLY));
  return write_all(file.get(), std::to_string(kib), setting);
}

}  // namespace hearth::mount
