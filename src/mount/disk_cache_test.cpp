#include "mount/disk_cache.hpp"

#include "base/file.hpp"
#include "mount/present_map.hpp"
#include "mount/testing/cache_fixture.hpp"
#include "mount/unused_file.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

namespace hearth::mount {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using testing::must;
using ::testing::StartsWith;

constexpr uint64_t kMiB = uint64_t{1} << 20;

/// Packs that no store knows: the cache does not ask where their bytes come from.
class DiskCacheTest : public ::testing::Test {
 protected:
  static image::PackInfo pack_info(const std::string& name, uint64_t plain_size = 4 * kMiB) {
    return {.digest = Digest::of(name), .size = plain_size, .plain_size = plain_size};
  }
  CacheOptions options(uint64_t max_bytes = 0) {
    CacheOptions result;
    result.dirs = {dir};
    result.max_bytes = max_bytes;
    result.min_free_bytes = 1;
    result.epoch = "simulated boot";
    result.metrics = &metrics;
    result.io = &disk;
    return result;
  }
  /// Makes a pack of `bytes` content, closed again.
  static void put(DiskCache& cache, const std::string& name, uint64_t bytes = kMiB) {
    must(must(cache.pack(pack_info(name)))->store(0, testing::noise(bytes, 7)));
  }
  void set_last_used(const std::string& name, int64_t at) {
    must(PresentMap::open(path_of(name, ".present"))).set_last_used(WallTime(seconds(at)));
  }
  fs::path path_of(const std::string& name, const std::string& suffix) const {
    const auto hex = Digest::of(name).hex();
    return dir / "packs" / hex.substr(0, 2) / (hex + suffix);
  }
  bool has(const std::string& name) const { return fs::exists(path_of(name, ".data")); }

  testing::TemporaryFolder folder;
  fs::path dir = folder.path() / "cache";
  testing::SimulatedDisk disk;
  MetricRegistry metrics;
};

TEST_F(DiskCacheTest, APackHasOneFileHoweverManyAsk) {
  const auto cache = must(DiskCache::open(options()));
  const auto one = must(cache->pack(pack_info("p")));
  EXPECT_EQ(must(cache->pack(pack_info("p"))), one);
  EXPECT_EQ(cache->pack(pack_info("p", kMiB)).error().code, ErrorCode::corrupt);
  EXPECT_EQ(cache->open_packs().size(), 1u);
  EXPECT_EQ(cache->pack(pack_info("odd", 5000)).error().code, ErrorCode::invalid_argument);
}

TEST_F(DiskCacheTest, OneProcessUsesADirectory) {
  const auto cache = must(DiskCache::open(options()));
  EXPECT_EQ(DiskCache::open(options()).error().code, ErrorCode::denied);
}

TEST_F(DiskCacheTest, TakesStockOfWhatAKilledProcessLeft) {
  uint64_t before = 0;
  {
    const auto cache = must(DiskCache::open(options()));
    put(*cache, "p");
    put(*cache, "q", 2 * kMiB);
    before = cache->usage().bytes;
  }
  EXPECT_GE(before, 3 * kMiB);
  fs::create_directories(dir / "packs/00");
  must(write_file_atomic(path_of("p", ".present.tmp-123"), "half"));
  must(write_file_atomic(dir / "packs/00" / (std::string(64, '0') + ".present"), "alone"));
  must(write_file_atomic(dir / "packs/00/stranger", "not ours"));
  const auto cache = must(DiskCache::open(options()));
  EXPECT_NEAR(static_cast<double>(cache->usage().bytes), static_cast<double>(before), 64 * 1024);
  EXPECT_EQ(cache->usage().packs, 2u);
  EXPECT_EQ(cache->usage().open_packs, 0u);
  EXPECT_FALSE(fs::exists(path_of("p", ".present.tmp-123")));
  EXPECT_FALSE(fs::exists(dir / "packs/00" / (std::string(64, '0') + ".present")));
  EXPECT_TRUE(fs::exists(dir / "packs/00/stranger"));
}

TEST_F(DiskCacheTest, EvictsTheLeastRecentlyUsedUntilItsBoundIsKept) {
  {
    const auto cache = must(DiskCache::open(options()));
    for (const char* name : {"a", "b", "c", "d"}) put(*cache, name);
  }
  set_last_used("a", 4000);
  set_last_used("b", 1000);
  set_last_used("c", 2000);
  set_last_used("d", 3000);
  const auto cache = must(DiskCache::open(options(5 * kMiB / 2)));
  EXPECT_GE(cache->enforce_bounds(), 2 * kMiB);
  EXPECT_FALSE(has("b"));
  EXPECT_FALSE(has("c"));
  EXPECT_TRUE(has("d"));
  EXPECT_TRUE(has("a"));
  EXPECT_FALSE(fs::exists(path_of("b", ".present")));
  EXPECT_LE(cache->usage().bytes, 5 * kMiB / 2);
  EXPECT_THAT(metrics.expose(), HasSubstr("hearth_imagefs_cache_evictions_total 2\n"));
}

TEST_F(DiskCacheTest, WhatIsInUseStaysWhateverTheBound) {
  const auto cache = must(DiskCache::open(options(kMiB / 2)));
  const auto used = must(cache->pack(pack_info("used")));
  must(used->store(0, testing::noise(kMiB, 1)));
  EXPECT_TRUE(used->room_for_prefetch());
  EXPECT_EQ(cache->enforce_bounds(), 0u);
  EXPECT_TRUE(has("used"));
  EXPECT_FALSE(used->room_for_prefetch());
  EXPECT_FALSE(cache->evict_pack(Digest::of("used")));
}

TEST_F(DiskCacheTest, AFileThatAnotherProcessHoldsStays) {
  const auto cache = must(DiskCache::open(options(kMiB / 2)));
  put(*cache, "held");
  UniqueFd holder(::open(path_of("held", ".data").c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(cache->enforce_bounds(), 0u);
  EXPECT_TRUE(has("held"));
  EXPECT_EQ(remove_unused_file(path_of("held", ".data")).error().code, ErrorCode::unavailable);
  holder.reset();
  EXPECT_GE(cache->enforce_bounds(), kMiB);
  EXPECT_FALSE(has("held"));
}

TEST_F(DiskCacheTest, BoundsAreKeptAsBytesAreStored) {
  const auto cache = must(DiskCache::open(options(16 * kMiB)));
  for (int i = 0; i < 40; ++i) put(*cache, "p" + std::to_string(i), 2 * kMiB);
  EXPECT_LE(cache->usage().bytes, 50 * kMiB);  // 16 and what is stored between two looks
}

TEST_F(DiskCacheTest, APackThatWasEvictedCanComeBack) {
  const auto cache = must(DiskCache::open(options()));
  put(*cache, "p");
  EXPECT_TRUE(cache->evict_pack(Digest::of("p")));
  EXPECT_FALSE(cache->evict_pack(Digest::of("p")));
  const auto again = must(cache->pack(pack_info("p")));
  EXPECT_FALSE(again->present(0, 1));
}

TEST_F(DiskCacheTest, FilesOfLayersAreCountedAndEvictedToo) {
  const auto layer = Digest::of("layer");
  const auto cache = must(DiskCache::open(options(kMiB)));
  const auto path = must(cache->layer_path(layer, "erofs"));
  must(write_file_atomic(path, testing::noise(2 * kMiB, 3)));
  must(write_file_atomic(must(cache->layer_path(layer, "index")), "small"));
  cache->touch_layer(layer);
  EXPECT_EQ(cache->usage().layers, 1u);
  EXPECT_GE(cache->usage().bytes, 2 * kMiB);
  UniqueFd mounted(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(cache->enforce_bounds(), 0u);
  EXPECT_TRUE(fs::exists(must(cache->layer_path(layer, "index"))));  // all or nothing
  mounted.reset();
  cache->enforce_bounds();
  EXPECT_FALSE(fs::exists(path));
  EXPECT_EQ(cache->usage().layers, 0u);
}

TEST_F(DiskCacheTest, ADirectoryThatCannotBeUsedIsLeftOut) {
  auto two = options();
  must(write_file_atomic(folder.path() / "file", ""));
  two.dirs = {folder.path() / "file" / "below", dir};
  const auto cache = must(DiskCache::open(two));
  ASSERT_EQ(cache->usage().disks.size(), 1u);
  EXPECT_EQ(cache->usage().disks[0].dir, dir);
  two.dirs = {folder.path() / "file" / "below"};
  EXPECT_FALSE(DiskCache::open(two).has_value());
}

TEST_F(DiskCacheTest, NothingNewIsPutOnADiskThatFails) {
  auto two = options();
  two.dirs = {dir, folder.path() / "second"};
  const auto cache = must(DiskCache::open(two));
  const auto file = must(cache->pack(pack_info("p")));
  disk.write_error = EIO;
  EXPECT_EQ(file->store(0, "x").error().code, ErrorCode::internal);
  disk.write_error = 0;
  const auto usage = cache->usage();
  EXPECT_NE(usage.disks[0].failed, usage.disks[1].failed);
  const size_t good = usage.disks[0].failed ? 1 : 0;
  for (int i = 0; i < 4; ++i) put(*cache, "q" + std::to_string(i));
  EXPECT_GE(cache->usage().disks[good].bytes, 4 * kMiB);
}

TEST_F(DiskCacheTest, AFileThatIsThereTwiceIsThereOnceAfterwards) {
  {
    const auto cache = must(DiskCache::open(options()));
    put(*cache, "p");
  }
  fs::copy(dir, folder.path() / "second", fs::copy_options::recursive);
  auto two = options();
  two.dirs = {dir, folder.path() / "second"};
  const auto cache = must(DiskCache::open(two));
  EXPECT_EQ(cache->usage().packs, 1u);
  EXPECT_TRUE(has("p"));
  EXPECT_EQ(cache->usage().disks[1].bytes, 0u);
}

/// Real full disks: small tmpfs mounts.
class FullDiskTest : public DiskCacheTest {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root to mount a small tmpfs";
    fs::create_directories(dir);
    ASSERT_EQ(::mount("hearth-test", dir.c_str(), "tmpfs", 0, "size=8m"), 0);
  }
  void TearDown() override {
    for (const auto& at : {dir, folder.path() / "large"}) ::umount2(at.c_str(), MNT_DETACH);
  }
};

TEST_F(FullDiskTest, AFullDiskIsEmptiedOfWhatNobodyUses) {
  const auto cache = must(DiskCache::open(options()));
  put(*cache, "old", 4 * kMiB);
  const auto file = must(cache->pack(pack_info("new", 16 * kMiB)));
  for (uint64_t at = 0; at < 7 * kMiB; at += kMiB) must(file->store(at, testing::noise(kMiB, 1)));
  EXPECT_FALSE(has("old"));
  std::string read(kMiB, '?');
  must(file->read(6 * kMiB, read.data(), read.size()));
  EXPECT_EQ(read, testing::noise(kMiB, 1));
}

TEST_F(FullDiskTest, WhenNothingCanBeEvictedTheStoreIsExhaustedAndThePagesStayMissing) {
  const auto cache = must(DiskCache::open(options()));
  const auto file = must(cache->pack(pack_info("p", 16 * kMiB)));
  Result<> stored;
  uint64_t at = 0;
  for (; stored && at < 16 * kMiB; at += kMiB) stored = file->store(at, testing::noise(kMiB, 1));
  ASSERT_FALSE(stored.has_value());
  EXPECT_EQ(stored.error().code, ErrorCode::exhausted);
  EXPECT_FALSE(file->present(at - kMiB, kMiB));
  EXPECT_FALSE(file->room_for_prefetch());
}

TEST_F(FullDiskTest, NewPacksGoWhereMostSpaceIsFree) {
  const auto large = folder.path() / "large";
  fs::create_directories(large);
  ASSERT_EQ(::mount("hearth-test", large.c_str(), "tmpfs", 0, "size=64m"), 0);
  auto two = options();
  two.dirs = {dir, large};
  const auto cache = must(DiskCache::open(two));
  for (int i = 0; i < 6; ++i) put(*cache, "p" + std::to_string(i), 2 * kMiB);
  EXPECT_EQ(cache->usage().disks[0].bytes, 0u);
  EXPECT_GE(cache->usage().disks[1].bytes, 12 * kMiB);
}

TEST_F(FullDiskTest, SpaceIsLeftFreeForOthers) {
  auto with_floor = options();
  with_floor.min_free_bytes = 5 * kMiB;
  const auto cache = must(DiskCache::open(with_floor));
  put(*cache, "a", 2 * kMiB);
  put(*cache, "b", 2 * kMiB);
  cache->enforce_bounds();
  EXPECT_FALSE(has("a"));
  EXPECT_TRUE(has("b"));
}

}  // namespace
}  // namespace hearth::mount
