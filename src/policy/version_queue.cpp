#include "policy/version_queue.hpp"

#include "base/result.hpp"

#include <algorithm>

namespace hearth::policy {
namespace {

constexpr seconds kLongestRetryAfter{600};

/// When the queue will be half as long as its bound, so that those who come back are let in.
seconds retry_when_short(Duration wait, Duration bound) {
  const auto until = std::chrono::ceil<seconds>(wait - bound / 2);
  return std::clamp(until, seconds(1), kLongestRetryAfter);
}

}  // namespace

std::optional<Refusal> VersionQueue::offer(const QueuedRequest& request, MonoTime now) {
  if (request.deadline.passed(now)) return Refusal{.reason = Refusal::Reason::deadline_passed};
  if (queued_rows_ > 0) {
    const auto own = flow_by_key_.find(request.key);
    // A key that has nothing queued waits one turn of the others: a noisy neighbour's queue does not keep it out.
    const uint64_t ahead = own == flow_by_key_.end() ? flows_.size() : rows_ahead(request);
    const Duration wait = rate_.time_for(ahead);
    Duration bound = std::max(limits_.burst, rate_.service_time() * limits_.service_times);
    if (const auto left = request.deadline.left(now)) {
      bound = std::min(bound, std::chrono::duration_cast<Duration>(*left * limits_.deadline_share));
    }
    const bool memory_full =
        queued_rows_ + request.rows > limits_.max_rows || queued_bytes_ + request.bytes > limits_.max_bytes;
    if (memory_full || wait > bound) {
      const Duration whole = memory_full ? std::max(wait, expected_drain()) : wait;
      return Refusal{.retry_after = retry_when_short(whole, bound), .expected_wait = whole};
    }
  }
  idle_.push_front(Waiting{.request = request});
  const bool unique = by_request_.emplace(request.request, idle_.begin()).second;
  CHECK_PROMISE(unique);
  queued_rows_ += request.rows;
  queued_bytes_ += request.bytes;
  enqueue(idle_.begin());
  flow_of(request.key)->rows += request.rows;
  return std::nullopt;
}

std::optional<DispatchRow> VersionQueue::take(MonoTime now, std::vector<uint64_t>& passed) {
  if (!has_room()) return std::nullopt;
  while (!flows_.empty()) {
    const FlowAt flow = flows_.begin();
    const WaitingAt waiting = flow->requests.begin();
    if (waiting->request.deadline.passed(now)) {
      passed.push_back(waiting->request.request);
      drop_rows(flow, waiting);
      drop_flow_if_empty(flow);
      continue;
    }
    DispatchRow row{.request = waiting->request.request};
    if (waiting->returned.empty()) {
      row.row = waiting->next_row++;
    } else {
      row.row = waiting->returned.back();
      waiting->returned.pop_back();
    }
    --flow->rows;
    --queued_rows_;
    ++outstanding_;
    if (waiting->left() == 0) {
      drop_rows(flow, waiting);
    } else {
      flow->requests.splice(flow->requests.end(), flow->requests, waiting);  // the next request's turn
    }
    flows_.splice(flows_.end(), flows_, flow);  // the next key's turn
    drop_flow_if_empty(flow);
    return row;
  }
  return std::nullopt;
}

seconds VersionQueue::retry_after() const {
  return retry_when_short(expected_drain(), limits_.burst);
}

void VersionQueue::settle(Duration latency) {
  rate_.row_answered(latency);
  release();
}

void VersionQueue::release() {
  CHECK_PROMISE(outstanding_ > 0);
  --outstanding_;
}

void VersionQueue::put_back(DispatchRow row) {
  release();
  const auto known = by_request_.find(row.request);
  if (known == by_request_.end()) return;
  const WaitingAt waiting = known->second;
  waiting->returned.push_back(row.row);
  ++queued_rows_;
  if (!waiting->queued) {
    queued_bytes_ += waiting->request.bytes;
    enqueue(waiting);
  }
  ++flow_of(waiting->request.key)->rows;
}

void VersionQueue::forget(uint64_t request) {
  const auto known = by_request_.find(request);
  if (known == by_request_.end()) return;
  const WaitingAt waiting = known->second;
  if (waiting->queued) {
    const FlowAt flow = flow_of(waiting->request.key);
    drop_rows(flow, waiting);
    drop_flow_if_empty(flow);
  }
  idle_.erase(waiting);
  by_request_.erase(known);
}

void VersionQueue::set_limit(uint32_t limit) {
  limit_ = limit;
  rate_.set_limit(limit);
}

/// Rows of others that go before this request's last row, under turns: in its own flow each request gives at most as
/// many as it does, and every other flow as many as its own flow in all. An upper bound, in O(keys).
uint64_t VersionQueue::rows_ahead(const QueuedRequest& request) const {
  const Flow& own = *flow_by_key_.at(request.key);
  const uint64_t within = std::min<uint64_t>(own.rows, request.rows * uint64_t{own.requests.size()});
  const uint64_t turns = within + request.rows;
  uint64_t ahead = within;
  for (const Flow& flow : flows_) {
    if (flow.key != request.key) ahead += std::min(flow.rows, turns);
  }
  return ahead;
}

/// Rows all keys together give in so many turns.
uint64_t VersionQueue::rows_in_turns(uint64_t turns) const {
  uint64_t rows = 0;
  for (const Flow& flow : flows_) rows += std::min(flow.rows, turns);
  return rows;
}

std::vector<uint64_t> VersionQueue::hopeless(MonoTime now) const {
  std::vector<uint64_t> ids;
  if (!rate_.known()) return ids;
  for (const Flow& flow : flows_) {
    uint64_t turn = 0;
    for (const Waiting& waiting : flow.requests) {
      const auto left = waiting.request.deadline.left(now);
      const bool begun = waiting.next_row > 0;
      if (left && !begun && rate_.time_for(rows_in_turns(turn)) > *left) {
        ids.push_back(waiting.request.request);  // and so makes room for those behind it
      } else {
        ++turn;
      }
    }
  }
  return ids;
}

VersionQueue::FlowAt VersionQueue::flow_of(uint64_t key) {
  const auto known = flow_by_key_.find(key);
  if (known != flow_by_key_.end()) return known->second;
  const FlowAt flow = flows_.insert(flows_.end(), Flow{.key = key});
  flow_by_key_.emplace(key, flow);
  return flow;
}

void VersionQueue::enqueue(WaitingAt waiting) {
  const FlowAt flow = flow_of(waiting->request.key);
  flow->requests.splice(flow->requests.end(), idle_, waiting);
  waiting->queued = true;
}

/// Moves a request out of its flow; whatever rows it still had will never be given.
void VersionQueue::drop_rows(FlowAt flow, WaitingAt waiting) {
  flow->rows -= waiting->left();
  queued_rows_ -= waiting->left();
  queued_bytes_ -= waiting->request.bytes;
  waiting->next_row = waiting->request.rows;
  waiting->returned.clear();
  waiting->queued = false;
  idle_.splice(idle_.begin(), flow->requests, waiting);
}

void VersionQueue::drop_flow_if_empty(FlowAt flow) {
  if (!flow->requests.empty()) return;
  flow_by_key_.erase(flow->key);
  flows_.erase(flow);
}

}  // namespace hearth::policy
