// A small real disk: ext4 on a loop device on a file. It gets full, and it fails (EIO) once its file is cut short.
#pragma once

#include "base/process.hpp"

#include <sys/mount.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <string>

namespace hearth::mount::testing {

/// Mounted at FOLDER/disk while it lives, if this host can; needs root.
class LoopDisk {
 public:
  LoopDisk(const std::filesystem::path& folder, uint64_t bytes) : file_(folder / "disk.ext4"), at_(folder / "disk") {
    std::filesystem::create_directories(at_);
    const std::string make = "truncate -s " + std::to_string(bytes) + " " + file_.string() +
                             " && mkfs.ext4 -q -m 0 -E lazy_itable_init=0 " + file_.string() + " && mount -o loop " +
                             file_.string() + " " + at_.string();
    const auto made = run_process({.args = {"sh", "-c", "PATH=$PATH:/usr/sbin:/sbin; " + make}});
    mounted_ = made && made->code == 0;
  }
  ~LoopDisk() {
    if (mounted_) ::umount2(at_.c_str(), MNT_DETACH);
  }
  LoopDisk(const LoopDisk&) = delete;
  LoopDisk& operator=(const LoopDisk&) = delete;

  bool mounted() const { return mounted_; }
  const std::filesystem::path& path() const { return at_; }
  /// From here on what lies behind `bytes` of the device cannot be read nor written.
  bool fail_behind(uint64_t bytes) const { return ::truncate(file_.c_str(), static_cast<off_t>(bytes)) == 0; }

 private:
  std::filesystem::path file_;
  std::filesystem::path at_;
  bool mounted_ = false;
};

}  // namespace hearth::mount::testing
