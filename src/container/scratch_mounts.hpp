// Short-lived attachments of detached mounts, for kernels and calls that want a path. Private, gone when destroyed.
#pragma once

#include "base/result.hpp"

#include <filesystem>
#include <vector>

namespace hearth::container {

class ScratchMounts {
 public:
  static Result<ScratchMounts> open(const std::filesystem::path& below);
  ScratchMounts(ScratchMounts&& other) noexcept;
  ScratchMounts& operator=(ScratchMounts&&) = delete;
  ~ScratchMounts();

  /// Attaches the mount; the path is short and has no character that mount options treat specially.
  Result<std::filesystem::path> attach(int mount_fd);
  /// An empty directory to mount on; unmounted with the rest.
  Result<std::filesystem::path> reserve();

 private:
  explicit ScratchMounts(std::filesystem::path directory) : directory_(std::move(directory)) {}
  std::filesystem::path directory_;
  std::vector<std::filesystem::path> points_;
};

}  // namespace hearth::container
