// Tests only: a jail of BusyBox (static) whose commands are checked from the inside.
#pragma once

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/file.hpp"
#include "base/process.hpp"
#include "base/random_id.hpp"
#include "container/container.hpp"

namespace hearth::container {

inline constexpr uint32_t kTestIdBase = 1'000'000;

/// Why jails cannot be tested here; empty when they can.
inline std::string why_no_jails() {
  if (::geteuid() != 0) return "not root";
  if (!find_program("runc")) return "runc is not installed";
  if (!find_program("busybox")) return "busybox is not installed (Debian package busybox-static)";
  return "";
}

#define SKIP_WITHOUT_JAILS() \
  if (const auto why = ::hearth::container::why_no_jails(); !why.empty()) GTEST_SKIP() << "needs a jail: " << why

/// A folder of the test, removed with all that is mounted below it.
class TestFolder {
 public:
  TestFolder() : path_("/tmp/hearth-container-" + random_id(8)) {
    std::filesystem::create_directories(path_);
    std::filesystem::permissions(path_, std::filesystem::perms(0711));
  }
  ~TestFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

template <class T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message);
  return std::move(*result);
}
inline void must(const Result<>& result) {
  if (!result) throw std::runtime_error(result.error().message);
}

/// A layer as imagefs would hand it over.
inline UniqueFd layer_of(const std::filesystem::path& folder) {
  UniqueFd fd(::open_tree(AT_FDCWD, folder.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
  if (!fd) throw std::runtime_error("open_tree " + folder.string());
  return fd;
}

}  // namespace hearth::container
