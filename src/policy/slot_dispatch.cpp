#include "policy/slot_dispatch.hpp"

#include "base/result.hpp"

#include <algorithm>
#include <bit>

namespace hearth::policy {

namespace {
constexpr Duration kPipelineWork = milliseconds(4);
constexpr uint32_t kDepthMax = 64;
constexpr int kMeanWeight = 8;  // of the past against one sample
}  // namespace

uint32_t pipeline_depth(Duration mean_run_time) {
  if (mean_run_time <= Duration::zero()) return kDepthMax;
  const auto fits = static_cast<uint64_t>(kPipelineWork / mean_run_time);
  return static_cast<uint32_t>(std::bit_floor(std::clamp<uint64_t>(fits, 1, kDepthMax)));
}

SlotDispatch::SlotDispatch(Limits limits) : limits_(limits), workers_(limits.slots) {
  CHECK_PROMISE(limits.slots > 0 && limits.max_batch > 0);
}

void SlotDispatch::worker_ready(uint32_t index) {
  Worker& worker = workers_.at(index);
  if (worker.ready) return;
  worker.ready = true;
  ++ready_;
}

void SlotDispatch::worker_unready(uint32_t index) {
  Worker& worker = workers_.at(index);
  if (worker.ready) --ready_;
  worker.ready = false;
}

void SlotDispatch::worker_gone(uint32_t index) {
  Worker& worker = workers_.at(index);
  if (worker.ready) --ready_;
  worker = {};
}

void SlotDispatch::adopt(uint32_t index, uint32_t count) {
  workers_.at(index).outstanding += count;
}

uint32_t SlotDispatch::room(const Worker& worker) const {
  if (!worker.ready) return 0;
  if (limits_.mode == DispatchMode::row) return depth_ > worker.outstanding ? depth_ - worker.outstanding : 0;
  if (worker.outstanding == 0) return limits_.max_batch;
  const uint32_t most = depth_ > 1 ? 2 * limits_.max_batch : limits_.max_batch;
  if (depth_ == 1) return 0;  // slow: what comes now waits for whichever worker is free first
  return most > worker.outstanding ? most - worker.outstanding : 0;
}

std::optional<SlotDispatch::Assignment> SlotDispatch::next(uint64_t queued) const {
  if (queued == 0 || ready_ == 0) return std::nullopt;
  const Worker* best = nullptr;
  for (const Worker& worker : workers_) {
    if (room(worker) == 0) continue;
    if (best == nullptr || worker.outstanding < best->outstanding) best = &worker;
  }
  if (best == nullptr) return std::nullopt;
  const auto index = static_cast<uint32_t>(best - workers_.data());
  // Row: one at a time, so that the queue spreads over the workers evenly.
  const uint32_t most = limits_.mode == DispatchMode::row && workers_.size() > 1 ? 1 : room(*best);
  return Assignment{index, static_cast<uint32_t>(std::min<uint64_t>(queued, most))};
}

void SlotDispatch::sent(uint32_t index, uint32_t count) {
  workers_.at(index).outstanding += count;
}

void SlotDispatch::done(uint32_t index, Duration run_time, uint32_t batch) {
  Worker& worker = workers_.at(index);
  CHECK_PROMISE(worker.outstanding > 0);
  --worker.outstanding;
  if (batch == 0) return;
  // In batch mode every row of a call reports the call's time: each counts as its share of a sample, which the
  // smoothing forgives.
  mean_ = mean_ == Duration::zero() ? run_time : mean_ + (run_time - mean_) / kMeanWeight;
  // A mean that hovers at a border must not change the depth, and the routers' credits, with every result.
  const bool clearly_more = pipeline_depth(mean_ * 5 / 4) > depth_;
  const bool clearly_less = pipeline_depth(mean_ * 4 / 5) < depth_;
  if (clearly_more || clearly_less) depth_ = pipeline_depth(mean_);
}

uint32_t SlotDispatch::credits() const {
  if (ready_ == 0) return 0;
  if (limits_.mode == DispatchMode::batch) return ready_ * 2 * limits_.max_batch;
  return ready_ * depth_ + ready_;  // one more a worker waits here, so that a free one need not wait for the router
}

}  // namespace hearth::policy
