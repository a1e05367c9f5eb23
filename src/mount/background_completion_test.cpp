#include "mount/background_completion.hpp"

#include "mount/testing/fetcher_fixture.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <future>

namespace hearth::mount {
namespace {

using testing::FetcherFixture;
using testing::Latch;
using testing::mixed_files;
using testing::must;
using testing::ScriptedStore;

class BackgroundCompletionTest : public FetcherFixture {
 protected:
  void begin(Duration quiet) {
    completion = std::make_unique<BackgroundCompletion>(
        *cache, *fetcher,
        CompletionOptions{.quiet = quiet, .pause_after_failure = milliseconds(1), .piece_bytes = 256 * 1024});
    completion->start();
  }
  void TearDown() override {
    fetcher->stop();
    completion.reset();
  }
  /// A demand for a chunk, from a thread that waits for it.
  std::future<Result<>> demand(const PackChunk& chunk) {
    return std::async(std::launch::async, [this, chunk] { return fill(request(chunk)); });
  }

  std::unique_ptr<BackgroundCompletion> completion;
};

TEST_F(BackgroundCompletionTest, ALayerThatIsOpenBecomesCompleteWithoutAnyReader) {
  start(mixed_files());
  begin(Duration::zero());
  eventually([this] { return layer->complete(); });
  EXPECT_TRUE(all_right());
}

TEST_F(BackgroundCompletionTest, WhatNobodyHasOpenIsLeftAlone) {
  start(mixed_files());
  layer.reset();
  begin(Duration::zero());
  std::this_thread::sleep_for(milliseconds(30));
  EXPECT_EQ(store->read_count(), 0u);
}

TEST_F(BackgroundCompletionTest, WhileAReaderWaitsNothingElseIsFetched) {
  start(mixed_files(), {.read_around_bytes = 0, .read_ahead_bytes = 0});
  Latch latch;
  store->before = [&latch](const ScriptedStore::Read&) {
    latch.pass();
    return Result<>();
  };
  auto reader = demand(chunks().front());
  latch.wait_for(1);
  begin(Duration::zero());
  std::this_thread::sleep_for(milliseconds(30));
  EXPECT_EQ(store->read_count(), 1u);
  latch.open();
  must(reader.get());
  eventually([this] { return layer->complete(); });
}

TEST_F(BackgroundCompletionTest, AReaderDoesNotWaitForAPieceThatIsUnderWay) {
  start(mixed_files(), {.read_around_bytes = 0, .read_ahead_bytes = 0});
  Latch latch;
  std::atomic<bool> first = true;
  store->before = [&](const ScriptedStore::Read&) {
    if (first.exchange(false)) latch.pass();
    return Result<>();
  };
  begin(Duration::zero());
  latch.wait_for(1);
  must(fill(request(chunks().back())));  // else the test never ends
  EXPECT_FALSE(layer->complete());
  latch.open();
  eventually([this] { return layer->complete(); });
  EXPECT_TRUE(all_right());
}

TEST_F(BackgroundCompletionTest, ItBeginsOnlyWhenNoReaderWaitedForAWhile) {
  start(mixed_files(), {.read_around_bytes = 0, .read_ahead_bytes = 0});
  must(fill(request(chunks().front())));
  begin(std::chrono::hours(1));
  std::this_thread::sleep_for(milliseconds(30));
  EXPECT_EQ(store->read_count(), 1u);
}

TEST_F(BackgroundCompletionTest, ItTriesAgainAfterTheStoreWasAway) {
  start(mixed_files());
  std::atomic<int> refusals = 3;
  store->before = [&refusals](const ScriptedStore::Read&) {
    return --refusals >= 0 ? Result<>(fail(ErrorCode::unavailable, "simulated outage")) : Result<>();
  };
  begin(Duration::zero());
  eventually([this] { return layer->complete(); });
  EXPECT_LT(refusals, 0);
}

}  // namespace
}  // namespace hearth::mount
