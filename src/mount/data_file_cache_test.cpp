#include "mount/data_file_cache.hpp"

#include "base/file.hpp"
#include "mount/page_range.hpp"
#include "mount/testing/cache_fixture.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <unistd.h>

#include <string>

namespace hearth::mount {

namespace {

using testing::must;
using testing::TemporaryFolder;

class DataFileCache : public ::testing::Test {
 protected:
  /// A file that is on the disk and, unless dropped, in memory.
  UniqueFd file_of(size_t pages) const {
    must(write_file_atomic(folder.path() / "file", std::string(pages * kPageBytes, 'x')));
    UniqueFd file = must(open_file(folder.path() / "file", O_RDWR));
    EXPECT_EQ(::fdatasync(file.get()), 0);
    return file;
  }
  static void drop(const UniqueFd& file, off_t offset, off_t length) {
    EXPECT_EQ(::posix_fadvise(file.get(), offset, length, POSIX_FADV_DONTNEED), 0);
  }

  TemporaryFolder folder{"/var/tmp"};  // a disk
};

TEST_F(DataFileCache, AllOfASmallFileIsLookedAt) {
  const UniqueFd file = file_of(10);
  std::string bytes(10 * kPageBytes, '\0');
  ASSERT_EQ(::pread(file.get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  const CachedPages seen = sample_page_cache(file.get(), 10 * kPageBytes - 1);
  EXPECT_EQ(seen.looked_at, 10U);
  EXPECT_EQ(seen.cached, 10U);
}

TEST_F(DataFileCache, WhatWasDroppedIsNotCounted) {
  const UniqueFd file = file_of(10);
  drop(file, 0, 0);
  EXPECT_EQ(sample_page_cache(file.get(), 10 * kPageBytes).cached, 0U);
}

TEST_F(DataFileCache, OfALargeFileWindowsFromBeginToEndAreLookedAt) {
  constexpr size_t kPages = 8192;
  const UniqueFd file = file_of(kPages);
  drop(file, 0, kPages / 2 * kPageBytes);
  const CachedPages seen = sample_page_cache(file.get(), kPages * kPageBytes);
  EXPECT_LT(seen.looked_at, kPages);
  EXPECT_GT(seen.cached, 0U);
  EXPECT_LE(seen.cached, seen.looked_at / 2);
}

TEST_F(DataFileCache, AnEmptyFileHasNothingToLookAt) {
  EXPECT_EQ(sample_page_cache(file_of(0).get(), 0).looked_at, 0U);
}

TEST_F(DataFileCache, WhatIsNoFileCannotBeReadDirectly) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd from(ends[0]);
  const UniqueFd to(ends[1]);
  EXPECT_FALSE(can_be_read_directly(from.get()));
  EXPECT_FALSE(can_be_read_directly(-1));
}

}  // namespace

}  // namespace hearth::mount
