#include "mount/fetcher.hpp"

#include "mount/testing/fetcher_fixture.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

namespace hearth::mount {
namespace {

using testing::FetcherFixture;
using testing::Files;
using ::testing::HasSubstr;
using testing::Latch;
using testing::mixed_files;
using testing::must;
using testing::noise;
using testing::ScriptedStore;

constexpr size_t kMiB = 1024 * 1024;

/// A call of fill whose end can be waited for.
class Call {
 public:
  Call(Fetcher& fetcher, FillRequest request) {
    fetcher.fill(std::move(request), [this](Result<> result) { promise_.set_value(std::move(result)); });
  }
  Result<> result() { return future_.get(); }
  bool is_over() const { return future_.wait_for(std::chrono::seconds(0)) == std::future_status::ready; }

 private:
  std::promise<Result<>> promise_;
  std::future<Result<>> future_ = promise_.get_future();
};

class FetcherTest : public FetcherFixture {};

TEST_F(FetcherTest, BringsEveryChunkByteForByte) {
  start(mixed_files());
  for (const auto& chunk : chunks()) {
    must(fill(request(chunk)));
    EXPECT_TRUE(is_right(chunk));
  }
  EXPECT_TRUE(layer->complete());
  EXPECT_TRUE(all_right());
}

TEST_F(FetcherTest, WhatIsPresentIsAnsweredAtOnceInTheSameThread) {
  start(mixed_files());
  must(fill(whole()));
  const auto reads = store->read_count();
  bool told = false;
  fetcher->fill(request(chunks().front()), [&told](const Result<>& result) { told = result.has_value(); });
  EXPECT_TRUE(told);
  EXPECT_EQ(store->read_count(), reads);
}

TEST_F(FetcherTest, NeighboursAreReadWithOneRequest) {
  Files files;
  for (uint32_t i = 0; i < 200; ++i) files["f" + std::to_string(i)] = noise(2000, i);
  start(files);
  must(fill(whole()));
  EXPECT_TRUE(all_right());
  EXPECT_EQ(store->read_count(), 1u);
}

TEST_F(FetcherTest, ASmallReadBringsItsNeighboursAlongAndALargeOneDoesNot) {
  Files files;
  for (uint32_t i = 0; i < 100; ++i) files["f" + std::to_string(100 + i)] = noise(2000, i);
  start(files, {.read_around_bytes = 20'000});
  const auto all = chunks();
  must(fill(request(all[10])));
  eventually([&] { return is_right(all[18]); });
  EXPECT_EQ(store->read_count(), 1u);
  EXPECT_FALSE(is_right(all[40]));
  EXPECT_FALSE(is_right(all[9]));
}

TEST_F(FetcherTest, ALargeDemandIsSplitOverSeveralConnections) {
  Latch latch;
  start({{"weights", noise(16 * kMiB, 1)}});
  store->before = [&latch](const ScriptedStore::Read&) {
    latch.pass();
    return Result<>();
  };
  Call call(*fetcher, whole());
  latch.wait_for(8);
  latch.open();
  must(call.result());
  EXPECT_TRUE(all_right());
}

TEST_F(FetcherTest, AChunkThatManyWantIsReadOnce) {
  Latch latch;
  start({{"one", noise(500'000, 1)}});
  store->before = [&latch](const ScriptedStore::Read&) {
    latch.pass();
    return Result<>();
  };
  std::vector<std::unique_ptr<Call>> calls;
  const auto chunk = chunks().front();
  for (uint64_t i = 0; i < 20; ++i) {
    auto some = request(chunk, i % 3 == 0 ? Urgency::prefetch : Urgency::demand);
    some.offset += i * 20'000;
    some.length = 1;
    calls.push_back(std::make_unique<Call>(*fetcher, some));
  }
  latch.wait_for(1);
  EXPECT_TRUE(fetcher->has_demand());
  latch.open();
  for (auto& call : calls) must(call->result());
  EXPECT_EQ(store->read_count(), 1u);
  EXPECT_FALSE(fetcher->has_demand());
}

/// Files so large and far apart that each is a run of its own.
Files lone_files(uint32_t count) {
  Files files;
  for (uint32_t i = 0; i < count; ++i) files["f" + std::to_string(100 + i)] = noise(kMiB, i);
  return files;
}

TEST_F(FetcherTest, DemandIsServedBeforePrefetchThatWasAskedForEarlier) {
  Latch latch;
  start(lone_files(10), {.workers = 1, .read_around_bytes = 0, .read_ahead_bytes = 0});
  store->before = [&latch](const ScriptedStore::Read&) {
    latch.pass();
    return Result<>();
  };
  const auto all = chunks();
  std::vector<std::unique_ptr<Call>> calls;
  calls.push_back(std::make_unique<Call>(*fetcher, request(all[0], Urgency::prefetch)));
  latch.wait_for(1);
  for (const size_t i : {2U, 4U, 6U, 8U}) {  // no neighbours: these stay apart
    calls.push_back(std::make_unique<Call>(*fetcher, request(all[i], Urgency::prefetch)));
  }
  calls.push_back(std::make_unique<Call>(*fetcher, request(all[7])));
  calls.push_back(std::make_unique<Call>(*fetcher, request(all[8])));  // joins the prefetch, and makes it urgent
  latch.open();
  for (auto& call : calls) must(call->result());
  const auto reads = store->reads();
  ASSERT_GE(reads.size(), 3u);
  EXPECT_EQ(reads[1].offset, all[7].stored_offset);
  EXPECT_LE(reads[2].offset, all[8].stored_offset);
  for (const size_t i : {7U, 8U}) EXPECT_TRUE(is_right(all[i]));
}

TEST_F(FetcherTest, PrefetchLeavesWorkersForDemand) {
  Latch latch;
  start(lone_files(20), {.workers = 4, .read_around_bytes = 0, .read_ahead_bytes = 0});
  const auto all = chunks();
  store->before = [&](const ScriptedStore::Read& read) {
    if (read.offset != all[19].stored_offset) latch.pass();
    return Result<>();
  };
  std::vector<std::unique_ptr<Call>> calls;
  for (size_t i = 0; i < 18; i += 2)
    calls.push_back(std::make_unique<Call>(*fetcher, request(all[i], Urgency::prefetch)));
  latch.wait_for(2);
  must(fill(request(all[19])));  // while prefetch hangs
  EXPECT_LE(store->most_at_once(), 3);
  latch.open();
  for (auto& call : calls) must(call->result());
}

TEST_F(FetcherTest, BytesOfNoLayerAreRefused) {
  start(mixed_files());
  auto other = layers.build({{"other", noise(50'000, 9)}});
  const auto file = must(cache->pack(other->pack(0)));
  EXPECT_EQ(fill({.pack = file, .offset = 0, .length = 1}).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(fill({.pack = pack(), .offset = pack()->plain_size(), .length = 1}).error().code,
            ErrorCode::invalid_argument);
  must(fill({.pack = file, .offset = 0, .length = 1, .urgency = Urgency::prefetch}));  // nothing to do
  EXPECT_FALSE(file->present(0, 1));
}

TEST_F(FetcherTest, PrefetchStopsWhereTheCacheIsFull) {
  start(mixed_files());
  must(fill(request(chunks().front())));
  close();
  CacheOptions bounded{
      .dirs = {folder.path() / "cache"}, .max_bytes = 1, .min_free_bytes = 1, .epoch = "simulated boot 1"};
  cache = must(DiskCache::open(bounded));
  layer = must(CachedLayer::open(*cache, index, "acme"));
  cache->enforce_bounds();
  open_fetcher({});
  EXPECT_EQ(fill(request(chunks().back(), Urgency::prefetch)).error().code, ErrorCode::exhausted);
  must(fill(request(chunks().back())));
}

TEST_F(FetcherTest, StoppingCancelsWhoWaits) {
  Latch latch;
  start(lone_files(6), {.workers = 1, .read_around_bytes = 0, .read_ahead_bytes = 0});
  store->before = [&latch](const ScriptedStore::Read&) {
    latch.pass();
    return Result<>();
  };
  Call running(*fetcher, request(chunks()[0]));
  latch.wait_for(1);
  Call waiting(*fetcher, request(chunks()[3]));
  std::thread stopper([this] { fetcher->stop(); });
  EXPECT_EQ(running.result().error().code, ErrorCode::cancelled);
  EXPECT_EQ(waiting.result().error().code, ErrorCode::cancelled);
  latch.open();
  stopper.join();
  EXPECT_EQ(fill(request(chunks()[4])).error().code, ErrorCode::cancelled);
}

TEST_F(FetcherTest, EveryReadOfATierIsTold) {
  std::mutex mutex;
  std::vector<FetchEvent> events;
  start(mixed_files(), {.observer = [&](const FetchEvent& event) {
          const std::lock_guard lock(mutex);
          events.push_back(event);
        }});
  must(fill(whole()));
  fetcher->stop();
  ASSERT_FALSE(events.empty());
  uint64_t bytes = 0;
  for (const auto& event : events) {
    EXPECT_EQ(event.tier, "store");
    EXPECT_EQ(event.pack, pack()->digest());
    EXPECT_EQ(event.urgency, Urgency::demand);
    bytes += event.bytes;
  }
  EXPECT_EQ(metrics.counter("hearth_imagefs_fetch_bytes_total", "", {{"tier", "store"}}).value(), bytes);
  EXPECT_THAT(metrics.expose(), HasSubstr("hearth_imagefs_fill_seconds_count{urgency=\"demand\"} 1"));
}

/// SIMULATED bundle: what it is asked for is on its way until it says otherwise.
class SimulatedGate final : public DemandGate {
 public:
  bool wait(const Digest&, uint64_t, uint64_t, Again& again) override {
    if (closed) return false;
    held.set_value(std::move(again));
    closed = true;
    return true;
  }
  bool expects(const Digest&) const override { return is_expected; }
  std::atomic<bool> closed{false};
  std::atomic<bool> is_expected{false};
  std::promise<Again> held;
};

TEST_F(FetcherTest, AReaderWaitsForABundleThatBringsItsPages) {
  SimulatedGate gate;
  start({{"a", noise(100'000, 1)}}, {.gate = &gate});
  const auto chunk = chunks().front();
  Call call(*fetcher, request(chunk));
  auto again = gate.held.get_future().get();
  EXPECT_FALSE(call.is_over());
  must(pack()->store(chunk.plain_offset, testing::plain_bytes(layers, *index, chunk.number)));
  again();
  must(call.result());
  EXPECT_EQ(store->read_count(), 0u);
}

TEST_F(FetcherTest, WhileABundleComesNothingIsFetchedOnAGuess) {
  SimulatedGate gate;
  gate.closed = true;
  gate.is_expected = true;
  Files files;
  for (uint32_t i = 0; i < 50; ++i) files["f" + std::to_string(100 + i)] = noise(2000, i);
  start(files, {.gate = &gate});
  const auto all = chunks();
  for (size_t i = 0; i < 10; ++i) must(fill(request(all[i])));
  fetcher->stop();
  for (size_t i = 10; i < all.size(); ++i) EXPECT_FALSE(pack()->on_disk(all[i].pages())) << i;
}

TEST_F(FetcherTest, ABundleThatDidNotBringThemIsFollowedByAFetch) {
  SimulatedGate gate;
  start({{"a", noise(100'000, 1)}}, {.gate = &gate});
  Call call(*fetcher, request(chunks().front()));
  auto again = gate.held.get_future().get();
  again();
  must(call.result());
  EXPECT_TRUE(all_right());
}

TEST_F(FetcherTest, PagesThatAppearWhileAChunkWaitsAreNotFetched) {
  Latch latch;
  start(lone_files(4), {.workers = 1, .read_around_bytes = 0, .read_ahead_bytes = 0});
  store->before = [&latch](const ScriptedStore::Read&) {
    latch.pass();
    return Result<>();
  };
  const auto all = chunks();
  Call first(*fetcher, request(all[0]));
  latch.wait_for(1);
  Call second(*fetcher, request(all[2]));
  must(pack()->store(all[2].plain_offset, testing::plain_bytes(layers, *index, all[2].number)));
  latch.open();
  must(first.result());
  must(second.result());
  EXPECT_EQ(store->read_count(), 1u);
}

}  // namespace
}  // namespace hearth::mount
