#include "policy/slot_dispatch.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace hearth::policy {
namespace {

SlotDispatch ready_dispatch(SlotDispatch::Limits limits) {
  SlotDispatch dispatch(limits);
  for (uint32_t i = 0; i < limits.slots; ++i) dispatch.worker_ready(i);
  return dispatch;
}

/// Teaches it a run time.
void learn(SlotDispatch& dispatch, Duration run_time) {
  for (int i = 0; i < 200; ++i) {
    dispatch.sent(0, 1);
    dispatch.done(0, run_time, 1);
  }
}

TEST(PipelineDepth, IsAboutFourMillisecondsOfWork) {
  const std::map<microseconds, uint32_t> expected = {
      {microseconds(0), 64},   {microseconds(5), 64},        {microseconds(62), 64},  {microseconds(100), 32},
      {microseconds(500), 8},  {microseconds(1500), 2},      {microseconds(2000), 2}, {microseconds(2001), 1},
      {microseconds(4000), 1}, {microseconds(30'000'000), 1}};
  for (const auto& [run_time, depth] : expected) EXPECT_EQ(pipeline_depth(run_time), depth) << run_time.count();
}

TEST(SlotDispatch, GivesNothingToNobody) {
  SlotDispatch dispatch({.slots = 2});
  EXPECT_EQ(dispatch.next(5), std::nullopt);
  EXPECT_EQ(dispatch.credits(), 0U);
  dispatch.worker_ready(1);
  EXPECT_EQ(dispatch.next(0), std::nullopt);
  EXPECT_EQ(dispatch.next(5)->index, 1U);
}

TEST(SlotDispatch, ASlowModelGetsOneRequestAWorker) {
  auto dispatch = ready_dispatch({.slots = 2});
  learn(dispatch, milliseconds(50));
  EXPECT_EQ(dispatch.depth(), 1U);
  dispatch.sent(dispatch.next(9)->index, 1);
  const auto second = dispatch.next(8);
  ASSERT_TRUE(second);
  EXPECT_EQ(second->index, 1U);
  dispatch.sent(1, 1);
  EXPECT_EQ(dispatch.next(7), std::nullopt);
  EXPECT_EQ(dispatch.credits(), 4U);  // two run, two wait here
}

TEST(SlotDispatch, AMeanThatHoversAtABorderDoesNotChangeTheDepth) {
  auto dispatch = ready_dispatch({.slots = 1});
  learn(dispatch, microseconds(130));
  EXPECT_EQ(dispatch.depth(), 16U);
  learn(dispatch, microseconds(120));  // 32 would fit, just
  EXPECT_EQ(dispatch.depth(), 16U);
  learn(dispatch, microseconds(90));
  EXPECT_EQ(dispatch.depth(), 32U);
  learn(dispatch, microseconds(130));
  EXPECT_EQ(dispatch.depth(), 32U);
  learn(dispatch, microseconds(170));
  EXPECT_EQ(dispatch.depth(), 16U);
}

TEST(SlotDispatch, AFastModelGetsAPipeline) {
  auto dispatch = ready_dispatch({.slots = 1});
  learn(dispatch, microseconds(20));
  EXPECT_EQ(dispatch.depth(), 64U);
  EXPECT_EQ(dispatch.next(100)->count, 64U);
}

TEST(SlotDispatch, RowsGoToTheWorkerWithTheFewestOutstanding) {
  auto dispatch = ready_dispatch({.slots = 3});
  learn(dispatch, microseconds(20));
  dispatch.sent(0, 5);
  dispatch.sent(1, 2);
  dispatch.sent(2, 9);
  EXPECT_EQ(dispatch.next(1)->index, 1U);
  dispatch.worker_gone(1);
  EXPECT_EQ(dispatch.next(1)->index, 0U);
}

TEST(SlotDispatch, AFreeWorkerTakesTheWholeQueueAsABatch) {
  auto dispatch = ready_dispatch({.mode = DispatchMode::batch, .slots = 2, .max_batch = 32});
  EXPECT_EQ(dispatch.next(7)->count, 7U);
  EXPECT_EQ(dispatch.next(99)->count, 32U);
  EXPECT_EQ(dispatch.credits(), 2U * 2U * 32U);
}

TEST(SlotDispatch, WhatComesWhileASlowBatchRunsWaitsForWhicheverWorkerIsFreeFirst) {
  auto dispatch = ready_dispatch({.mode = DispatchMode::batch, .slots = 2, .max_batch = 32});
  learn(dispatch, milliseconds(100));
  dispatch.sent(0, 4);
  EXPECT_EQ(dispatch.next(9)->index, 1U);
  dispatch.sent(1, 9);
  EXPECT_EQ(dispatch.next(5), std::nullopt);
}

TEST(SlotDispatch, AFastBatchModelHasTheNextBatchWaiting) {
  auto dispatch = ready_dispatch({.mode = DispatchMode::batch, .slots = 1, .max_batch = 32});
  learn(dispatch, microseconds(300));
  dispatch.sent(0, 32);
  EXPECT_EQ(dispatch.next(99)->count, 32U);
  dispatch.sent(0, 32);
  EXPECT_EQ(dispatch.next(99), std::nullopt);
}

TEST(SlotDispatch, AnUnreadyWorkerKeepsWhatItHasAndGetsNoMore) {
  auto dispatch = ready_dispatch({.slots = 1});
  dispatch.sent(0, 1);
  dispatch.worker_unready(0);
  EXPECT_EQ(dispatch.outstanding(0), 1U);
  EXPECT_EQ(dispatch.credits(), 0U);
  dispatch.done(0, microseconds(10), 1);
  EXPECT_EQ(dispatch.next(1), std::nullopt);
  dispatch.worker_ready(0);
  EXPECT_EQ(dispatch.next(1)->index, 0U);
}

TEST(SlotDispatch, WhatDidNotRunTeachesNothing) {
  auto dispatch = ready_dispatch({.slots = 1});
  learn(dispatch, milliseconds(50));
  dispatch.sent(0, 1);
  dispatch.done(0, Duration::zero(), 0);  // cancelled in the queue
  EXPECT_EQ(dispatch.depth(), 1U);
}

/// Whatever happens: never more than the limit at a worker, and a free ready worker is never passed over.
TEST(SlotDispatchRandom, NeverOverfillsAndNeverLeavesAFreeWorkerIdle) {
  for (uint32_t seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    const SlotDispatch::Limits limits{.mode = random() % 2 == 0 ? DispatchMode::row : DispatchMode::batch,
                                      .slots = 1 + static_cast<uint32_t>(random() % 4),
                                      .max_batch = 1 + static_cast<uint32_t>(random() % 40)};
    SlotDispatch dispatch(limits);
    std::vector<bool> ready(limits.slots);
    for (int i = 0; i < 500; ++i) {
      const auto index = static_cast<uint32_t>(random() % limits.slots);
      switch (random() % 4) {
        case 0:
          dispatch.worker_ready(index);
          ready[index] = true;
          break;
        case 1:
          if (random() % 8 == 0) {
            dispatch.worker_gone(index);
            ready[index] = false;
          }
          break;
        case 2:
          if (dispatch.outstanding(index) > 0) dispatch.done(index, microseconds(random() % 10000), 1);
          break;
        default:
          break;
      }
      const uint64_t queued = random() % 100;
      const auto assignment = dispatch.next(queued);
      if (assignment) {
        EXPECT_TRUE(ready[assignment->index]);
        EXPECT_GE(assignment->count, 1U);
        EXPECT_LE(assignment->count, queued);
        dispatch.sent(assignment->index, assignment->count);
        const uint32_t most = limits.mode == DispatchMode::row ? 64 : 2 * limits.max_batch;
        EXPECT_LE(dispatch.outstanding(assignment->index), most);
      } else if (queued > 0) {
        for (uint32_t w = 0; w < limits.slots; ++w) {
          EXPECT_FALSE(ready[w] && dispatch.outstanding(w) == 0) << "seed " << seed;
        }
      }
    }
  }
}

}  // namespace
}  // namespace hearth::policy
