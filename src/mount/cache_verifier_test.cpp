#include "mount/cache_verifier.hpp"

#include "mount/testing/fetcher_fixture.hpp"

#include <gtest/gtest.h>

namespace hearth::mount {
namespace {

using testing::FetcherFixture;
using testing::mixed_files;
using testing::must;
using testing::noise;
using testing::ScriptedStore;

class CacheVerifierTest : public FetcherFixture {
 protected:
  void open_verifier(VerifierOptions options = {}) {
    options.scrub_bytes_per_second = uint64_t{1} << 40;
    options.metrics = &metrics;
    verifier = std::make_unique<CacheVerifier>(*cache, *fetcher, std::move(options));
  }
  void TearDown() override {
    fetcher->stop();
    verifier.reset();
  }
  uint64_t rot_count() { return metrics.counter("hearth_imagefs_rot_total", "").value(); }
  PackChunk large_chunk() const {
    const auto all = chunks();
    return *std::ranges::find_if(all, [](const PackChunk& chunk) { return chunk.length == image::kChunkBytes; });
  }

  std::unique_ptr<CacheVerifier> verifier;
};

TEST_F(CacheVerifierTest, AfterABootLayersBecomeCompleteWithoutAnyReader) {
  start(mixed_files());
  must(fill(whole()));
  simulated_reboot();
  const auto reads = store->read_count();
  open_verifier();
  verifier->start();
  eventually([this] { return layer->complete(); });
  EXPECT_TRUE(all_right());
  EXPECT_EQ(store->read_count(), reads);
}

TEST_F(CacheVerifierTest, WhatWasWrongAfterABootIsFetchedAndTheLayerIsComplete) {
  start(mixed_files());
  must(fill(whole()));
  const auto chunk = large_chunk();
  close();
  flip_on_disk(chunk.plain_offset + 100'000);
  open_cache("simulated boot 2");
  open_fetcher({});
  open_verifier();
  verifier->start();
  eventually([this] { return layer->complete(); });
  EXPECT_TRUE(all_right());
  EXPECT_EQ(corrupt_count("disk"), 1u);
}

TEST_F(CacheVerifierTest, WhatWasNeverThereIsNotFetched) {
  start(mixed_files(), {.read_around_bytes = 0});
  const auto chunk = large_chunk();
  must(fill(request(chunk)));
  simulated_reboot();
  const auto reads = store->read_count();
  open_verifier();
  verifier->verify_candidates(pack());
  EXPECT_TRUE(is_right(chunk));
  EXPECT_FALSE(layer->complete());
  EXPECT_EQ(store->read_count(), reads);
}

TEST_F(CacheVerifierTest, AScrubOfGoodBytesFindsNothing) {
  start(mixed_files());
  must(fill(whole()));
  open_verifier();
  EXPECT_EQ(verifier->scrub(pack()), 0u);
  EXPECT_TRUE(layer->complete());
  EXPECT_EQ(metrics.counter("hearth_imagefs_scrubbed_bytes_total", "").value(), pack()->plain_size());
}

TEST_F(CacheVerifierTest, RotIsFoundToldAndWrittenOver) {
  std::vector<PageRange> told;
  start(mixed_files());
  must(fill(whole()));
  const auto chunk = large_chunk();
  flip_on_disk(chunk.plain_offset + 3 * kBlockBytes + 5);
  open_verifier({.on_rot = [&](const std::shared_ptr<PackFile>& file, const PageRange& range) {
    EXPECT_EQ(file, pack());
    EXPECT_FALSE(file->present(range.offset, 1));
    told.push_back(range);
  }});
  EXPECT_EQ(verifier->scrub(pack()), 1u);
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0], chunk.block_pages(3));
  EXPECT_EQ(rot_count(), 1u);
  EXPECT_TRUE(layer->complete());
  EXPECT_TRUE(all_right());
  EXPECT_EQ(verifier->scrub(pack()), 0u);
}

TEST_F(CacheVerifierTest, RotThatCannotBeMendedYetIsNeverSaidToBePresent) {
  std::atomic<bool> away{false};
  start(mixed_files());
  store->before = [&away](const ScriptedStore::Read&) -> Result<> {
    if (away) return fail(ErrorCode::not_found, "simulated: the pack is gone");
    return {};
  };
  must(fill(whole()));
  const auto chunk = large_chunk();
  flip_on_disk(chunk.plain_offset);
  away = true;
  open_verifier();
  EXPECT_EQ(verifier->scrub(pack()), 1u);
  EXPECT_FALSE(pack()->present(chunk.plain_offset, 1));
  EXPECT_FALSE(layer->complete());
  away = false;
  verifier->start();  // comes back to it
  eventually([this] { return layer->complete(); });
  EXPECT_TRUE(all_right());
}

TEST_F(CacheVerifierTest, ADiskThatLostWhatWasWrittenIsLookedAtAgain) {
  start(mixed_files());
  must(fill(whole()));
  disk.sync_error = EIO;
  open_verifier({.sync_every = milliseconds(1)});
  verifier->start();
  eventually(
      [this] { return metrics.counter("hearth_imagefs_fetch_reads_total", "", {{"tier", "disk"}}).value() > 0; });
  eventually([this] { return layer->complete(); });
  EXPECT_TRUE(all_right());
}

TEST_F(CacheVerifierTest, PacksThatComeIntoUseLaterAreFound) {
  start(mixed_files());
  must(fill(whole()));
  simulated_reboot();
  layer.reset();
  open_verifier();
  verifier->start();
  layer = must(CachedLayer::open(*cache, index, "acme"));
  verifier->look_now();
  eventually([this] { return layer->complete(); });
}

}  // namespace
}  // namespace hearth::mount
