// A detached mount made visible at a folder of its own, for system calls that need a path.
#pragma once

#include "base/random_id.hpp"

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <string>

namespace hearth::mount::testing {

/// Detached for good at its end. Needs root.
class AttachedMount {
 public:
  explicit AttachedMount(int mount) : path_("/tmp/hearth-attached-" + random_id()) {
    std::filesystem::create_directory(path_);
    if (::move_mount(mount, "", AT_FDCWD, path_.c_str(), MOVE_MOUNT_F_EMPTY_PATH) == 0) return;
    const int error = errno;
    ::rmdir(path_.c_str());
    throw std::runtime_error(std::string("attach a mount: ") + std::strerror(error));
  }
  ~AttachedMount() {
    ::umount2(path_.c_str(), MNT_DETACH);
    ::rmdir(path_.c_str());
  }
  AttachedMount(const AttachedMount&) = delete;
  AttachedMount& operator=(const AttachedMount&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace hearth::mount::testing
