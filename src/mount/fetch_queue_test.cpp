#include "mount/fetch_queue.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>

namespace hearth::mount {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr uint64_t kMiB = uint64_t{1} << 20;

class FetchQueueTest : public ::testing::Test {
 protected:
  QueuedChunk& add(uint64_t pack, uint64_t offset, uint32_t length, FetchClass precedence = FetchClass::demand) {
    auto& chunk = chunks_.emplace_back();
    chunk.pack_id = pack;
    chunk.stored_offset = offset;
    chunk.stored_length = length;
    chunk.precedence = precedence;
    queue.add(chunk);
    return chunk;
  }
  std::vector<uint64_t> take(FetchClass precedence, uint64_t run_bytes = kRunBytesMax) {
    std::vector<uint64_t> offsets;
    for (const auto* chunk : queue.take(precedence, run_bytes)) offsets.push_back(chunk->stored_offset);
    return offsets;
  }

  FetchQueue queue;

 private:
  std::deque<QueuedChunk> chunks_;
};

TEST_F(FetchQueueTest, NeighboursOnBothSidesAreTakenTogetherInTheOrderOfThePack) {
  add(1, 2000, 1000);
  add(1, 3000, 1000);
  add(1, 0, 1000);
  add(1, 1000, 1000);
  add(2, 4000, 1000);
  EXPECT_THAT(take(FetchClass::demand), ElementsAre(0, 1000, 2000, 3000));
  EXPECT_THAT(take(FetchClass::demand), ElementsAre(4000));
  EXPECT_THAT(take(FetchClass::demand), IsEmpty());
  EXPECT_TRUE(queue.empty(FetchClass::demand));
}

TEST_F(FetchQueueTest, SmallGapsAreReadOverAndLargeOnesAreNot) {
  add(1, 0, 1000);
  add(1, 1000 + kRunGapBytesMax, 1000);
  add(1, 2000 + 2 * kRunGapBytesMax + 1, 1000);
  EXPECT_THAT(take(FetchClass::demand), ElementsAre(0, 1000 + kRunGapBytesMax));
}

TEST_F(FetchQueueTest, ARunIsNoLongerThanAskedFor) {
  for (uint64_t i = 0; i < 8; ++i) add(1, i * kMiB, kMiB);
  EXPECT_THAT(take(FetchClass::demand, 3 * kMiB), ElementsAre(0, kMiB, 2 * kMiB));
  add(1, 0, kMiB);  // taken and wanted again: behind the others
  EXPECT_THAT(take(FetchClass::demand, kMiB), ElementsAre(3 * kMiB));
}

TEST_F(FetchQueueTest, AChunkLargerThanTheRunIsTakenAlone) {
  add(1, 0, kMiB);
  add(1, kMiB, kMiB);
  EXPECT_THAT(take(FetchClass::demand, 1000), ElementsAre(0));
}

TEST_F(FetchQueueTest, ClassesAreNotMixed) {
  add(1, 0, 1000, FetchClass::prefetch);
  add(1, 1000, 1000, FetchClass::demand);
  add(1, 2000, 1000, FetchClass::ahead);
  EXPECT_THAT(take(FetchClass::demand), ElementsAre(1000));
  EXPECT_THAT(take(FetchClass::prefetch), ElementsAre(0));
  EXPECT_THAT(take(FetchClass::ahead), ElementsAre(2000));
}

TEST_F(FetchQueueTest, APromotedChunkChangesItsLineAndTheBytesFollow) {
  auto& chunk = add(1, 0, 1000, FetchClass::prefetch);
  add(1, 90'000'000, 10, FetchClass::demand);
  queue.promote(chunk, FetchClass::demand);
  EXPECT_EQ(queue.bytes(FetchClass::prefetch), 0u);
  EXPECT_EQ(queue.bytes(FetchClass::demand), 1010u);
  EXPECT_THAT(take(FetchClass::demand), ElementsAre(90'000'000));
  EXPECT_THAT(take(FetchClass::demand), ElementsAre(0));
}

TEST_F(FetchQueueTest, DemandIsSplitOverIdleWorkersButNotIntoCrumbs) {
  const FetchLoad idle{.workers = 8, .in_flight_max = 64 * kMiB};
  for (uint64_t i = 0; i < 32; ++i) add(1, i * kMiB, kMiB);
  EXPECT_EQ(next_run(queue, idle), (NextRun{FetchClass::demand, 4 * kMiB}));
  FetchLoad busy = idle;
  busy.running = 7;
  EXPECT_EQ(next_run(queue, busy), (NextRun{FetchClass::demand, kRunBytesMax}));
  FetchLoad many = idle;
  many.workers = 1000;
  EXPECT_EQ(next_run(queue, many), (NextRun{FetchClass::demand, kDemandRunBytesMin}));
  busy.running = 8;
  EXPECT_EQ(next_run(queue, busy), std::nullopt);
}

TEST_F(FetchQueueTest, DemandComesFirstAndTheOthersHaveShares) {
  add(1, 0, 1000, FetchClass::prefetch);
  FetchLoad load{.workers = 8, .in_flight_max = 64 * kMiB};
  EXPECT_EQ(next_run(queue, load)->precedence, FetchClass::prefetch);
  load.running = load.running_background = 4;
  EXPECT_EQ(next_run(queue, load), std::nullopt);  // half of the workers
  add(1, 20'000'000, 1000, FetchClass::ahead);
  EXPECT_EQ(next_run(queue, load)->precedence, FetchClass::ahead);
  load.running = load.running_background = 6;
  EXPECT_EQ(next_run(queue, load), std::nullopt);  // three quarters
  load = {.workers = 8, .running = 3, .running_background = 2, .in_flight_max = 64 * kMiB};
  EXPECT_EQ(next_run(queue, load), std::nullopt);  // a quarter beside demand
  add(1, 40'000'000, 1000, FetchClass::demand);
  EXPECT_EQ(next_run(queue, load)->precedence, FetchClass::demand);
}

TEST_F(FetchQueueTest, BytesInFlightAreBounded) {
  add(1, 0, 1000, FetchClass::prefetch);
  FetchLoad load{
      .workers = 8, .running = 1, .running_background = 1, .in_flight_bytes = 32 * kMiB, .in_flight_max = 64 * kMiB};
  EXPECT_EQ(next_run(queue, load), std::nullopt);
  add(1, 20'000'000, 1000, FetchClass::demand);
  EXPECT_EQ(next_run(queue, load)->precedence, FetchClass::demand);
  load.in_flight_bytes = 64 * kMiB;
  EXPECT_EQ(next_run(queue, load), std::nullopt);
  load = {.workers = 8, .in_flight_max = 10};
  EXPECT_EQ(next_run(queue, load)->precedence, FetchClass::demand);  // with nothing in flight, one run always goes
}

}  // namespace
}  // namespace hearth::mount
