// A private folder of one build, gone when the build is.
#pragma once

#include "base/file.hpp"
#include "base/random_id.hpp"
#include "base/result.hpp"

#include <filesystem>
#include <utility>

namespace hearth::build {

class WorkFolder {
 public:
  /// Closed to all but root: it holds credentials for a while.
  static Result<WorkFolder> make(const std::filesystem::path& parent) {
    const auto path = parent / random_id(12);
    TRY_VOID(make_directories(path, 0700));
    return WorkFolder(path);
  }
  WorkFolder(WorkFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  WorkFolder& operator=(WorkFolder&&) = delete;
  ~WorkFolder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }

  const std::filesystem::path& path() const { return path_; }

 private:
  explicit WorkFolder(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;
};

}  // namespace hearth::build
