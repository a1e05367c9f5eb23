// Questions to a read-only file system, system call by system call, and what POSIX and Linux say the answer is: what of
// pjdfstest's and xfstests' cases applies to a tree that nobody can change. Written anew; the tree is that of
// read_only_test.cpp.
#pragma once

#include "mount/testing/cache_fixture.hpp"

#include <sys/types.h>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace hearth::mount::testing {

struct PosixRow {
  std::string question;
  /// What came of it at the tree mounted there: "ok", the name of an errno, or a value.
  std::function<std::string(const std::filesystem::path&)> ask;
  std::string answer;
};

/// About changing anything; names and paths; who may do what; reading; directories; attributes.
std::vector<PosixRow> posix_rows();

inline constexpr size_t kLongTarget = 4000;
inline constexpr size_t kNameMax = 255;
inline constexpr int kManyNames = 300;
inline constexpr off_t kSparseBytes = 1'000'000;  // 4 KiB of data at the begin, and at kSparseData
inline constexpr off_t kSparseData = 524'288;
/// Of "file": a few pages and a bit.
inline std::string file_content() {
  return noise(10'000, 9);
}

}  // namespace hearth::mount::testing
