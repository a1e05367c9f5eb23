// What the cache has left after its process, or the power, is gone; and while a kernel mount lives on without us.
#include "image/erofs_image.hpp"
#include "mount/erofs_mount.hpp"
#include "mount/testing/fetcher_fixture.hpp"
#include "mount/testing/prefilled_erofs.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <random>

namespace hearth::mount {
namespace {

using testing::FetcherFixture;
using testing::mixed_files;
using testing::must;
using testing::ScriptedStore;

class CacheSurvivalTest : public FetcherFixture {
 protected:
  /// Whether each block that is said to be present is right. Counts them.
  bool what_is_present_is_right(size_t& present) const {
    bool right = true;
    std::string bytes(kBlockBytes, '?');
    for (const auto& chunk : chunks()) {
      for (uint32_t i = 0; i < chunk.block_count(); ++i) {
        const auto pages = chunk.block_pages(i);
        if (!pack()->present(pages.offset, pages.length)) continue;
        ++present;
        const size_t length = std::min<size_t>(kBlockBytes, chunk.length - size_t{i} * kBlockBytes);
        must(pack()->read(pages.offset, bytes.data(), length));
        right = right && Digest::of({bytes.data(), length}) == chunk.block_digest(i);
      }
    }
    return right;
  }
};

/// A process of its own fills the cache until it is killed, at another moment each time.
TEST_F(CacheSurvivalTest, WhatAKilledProcessCalledPresentIsRight) {
  start(mixed_files());
  close();
  std::mt19937 random(7);
  size_t most = 0;
  for (int round = 0; round < 8; ++round) {
    int told[2];
    ASSERT_EQ(::pipe(told), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      open_cache("simulated boot 1");
      // Slowly, so that there is something to be killed.
      store->before = [](const ScriptedStore::Read&) -> Result<> {
        std::this_thread::sleep_for(microseconds(300));
        return {};
      };
      open_fetcher({.workers = 3, .read_around_bytes = 0});
      auto all = chunks();
      std::shuffle(all.begin(), all.end(), std::mt19937(static_cast<uint32_t>(round)));
      (void)!::write(told[1], "x", 1);
      for (const auto& chunk : all) fetcher->fill(request(chunk), [](const Result<>&) {});
      for (;;) ::pause();
    }
    ASSERT_GT(child, 0);
    char byte = 0;
    ASSERT_EQ(::read(told[0], &byte, 1), 1);
    std::this_thread::sleep_for(microseconds(random() % 8000));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    for (const int end : told) ::close(end);

    open_cache("simulated boot 1");
    size_t present = 0;
    EXPECT_TRUE(what_is_present_is_right(present));
    most = std::max(most, present);
    close();
  }
  EXPECT_GT(most, 0u);
  open_cache("simulated boot 1");
  open_fetcher({});
  must(fill(whole()));
  EXPECT_TRUE(all_right());
}

TEST_F(CacheSurvivalTest, AfterAPowerLossABitmapThatIsAheadOfItsDataIsNotBelieved) {
  start(mixed_files());
  must(fill(whole()));
  // SIMULATED power loss: the bitmap reached the disk, every third page of the data did not.
  for (uint64_t at = 0; at < pack()->plain_size(); at += 3 * kPageBytes) {
    ASSERT_EQ(
        ::fallocate(pack()->data_fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(at), kPageBytes),
        0);
  }
  simulated_reboot();
  size_t present = 0;
  EXPECT_TRUE(what_is_present_is_right(present));
  EXPECT_EQ(present, 0u);
  must(fill(whole()));
  EXPECT_TRUE(all_right());
}

TEST_F(CacheSurvivalTest, WhatTheKernelHasMountedIsNotEvictedThoughNobodyHereHasItOpen) {
  if (!testing::erofs_is_mountable()) GTEST_SKIP() << "needs root and a kernel that mounts EROFS images from files";
  start(mixed_files());
  must(fill(whole()));
  const auto image_path = folder.path() / "image";
  UniqueFd image(::open(image_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  must(image::write_erofs(*index, image.get()));
  const int device = pack()->data_fd();
  UniqueFd mount = must(mount_erofs(image.get(), std::span(&device, 1)));
  const auto digest = pack()->digest();
  fetcher.reset();
  layer.reset();
  EXPECT_FALSE(cache->evict_pack(digest));
  UniqueFd file(::openat(mount.get(), "weights", O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(file);
  mount.reset();
  EXPECT_FALSE(cache->evict_pack(digest));  // an open file keeps the mount
  file.reset();
  eventually([&] { return cache->evict_pack(digest); });
}

}  // namespace
}  // namespace hearth::mount
