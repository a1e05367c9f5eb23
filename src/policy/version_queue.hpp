// Admission and order of dispatch for one version's rows: bounded in time, fair between keys. Pure: no clock, no I/O.
#pragma once

#include "base/clock.hpp"
#include "policy/drain_rate.hpp"

#include <cstdint>
#include <list>
#include <optional>
#include <unordered_map>
#include <vector>

namespace hearth::policy {

struct QueueLimits {
  /// Expected wait up to which everybody is admitted, however short the service time: bursts are not overload.
  Duration burst = seconds(2);
  /// Above that: a few service times …
  int service_times = 4;
  /// … and never more than this part of the time the request has left.
  double deadline_share = 0.25;
  /// Memory, whatever the clock says.
  uint64_t max_rows = 200'000;
  uint64_t max_bytes = uint64_t{512} << 20;
};

/// One request as the queue sees it; a batch has several rows.
struct QueuedRequest {
  uint64_t request = 0;  // unique among those known to the queue
  uint64_t key = 0;      // whose share it counts against
  uint32_t rows = 1;
  uint64_t bytes = 0;
  Deadline deadline;
};

/// Why a request was not taken, with when to come again.
struct Refusal {
  enum class Reason { queue_full, deadline_passed };
  Reason reason = Reason::queue_full;
  seconds retry_after{1};  // ≥ 1; from the drain rate
  Duration expected_wait{};
};

struct DispatchRow {
  uint64_t request = 0;
  uint32_t row = 0;
  bool operator==(const DispatchRow&) const = default;
};

/// A row's way: offered → taken → settled (answered) or put_back (never ran: goes first next time). Rows leave in
/// turns between keys, within a key in turns between requests, so neither a noisy key nor a big batch blocks others.
/// The queue knows a request from offer() until forget(). Not thread-safe.
class VersionQueue {
 public:
  explicit VersionQueue(QueueLimits limits = {}) : limits_(limits) {}

  /// nullopt: admitted. A key with nothing queued is measured by its first row, others by their last.
  std::optional<Refusal> offer(const QueuedRequest& request, MonoTime now);

  /// Next row to send, while fewer rows are outstanding than the limit; it is outstanding from then on. Requests
  /// whose deadline has passed are skipped; their ids are appended to `passed`, and they give no more rows.
  std::optional<DispatchRow> take(MonoTime now, std::vector<uint64_t>& passed);

  /// A taken row has been answered after `latency`.
  void settle(Duration latency);
  /// A taken row has ended without telling anything about the drain rate (cancelled, worker died).
  void release();
  /// A taken row never ran; it will be taken again before others of its request.
  void put_back(DispatchRow row);

  /// No row of it will be taken any more. Rows already taken stay outstanding until settled or released.
  void forget(uint64_t request);

  /// Requests admitted when less was known, of which no row can begin before their deadline by what is known now:
  /// better refused at once than kept waiting for nothing. They stay queued until forgotten.
  std::vector<uint64_t> hopeless(MonoTime now) const;

  /// Rows that may be outstanding at once (the node's credits, absolute). 0 stops dispatch.
  void set_limit(uint32_t limit);

  uint64_t queued_rows() const { return queued_rows_; }
  uint32_t outstanding() const { return outstanding_; }
  uint32_t limit() const { return limit_; }
  bool has_room() const { return outstanding_ < limit_; }
  const DrainRate& drain_rate() const { return rate_; }
  /// Time until all that is queued now has been dispatched.
  Duration expected_drain() const { return rate_.time_for(queued_rows_); }
  /// When to come again after that: at least a second.
  seconds retry_after() const;

 private:
  struct Waiting {
    QueuedRequest request;
    uint32_t next_row = 0;
    std::vector<uint32_t> returned;
    bool queued = false;  // in its flow (has rows to give), else in idle_
    uint32_t left() const { return request.rows - next_row + static_cast<uint32_t>(returned.size()); }
  };
  struct Flow {
    uint64_t key = 0;
    uint64_t rows = 0;
    std::list<Waiting> requests;
  };
  using WaitingAt = std::list<Waiting>::iterator;
  using FlowAt = std::list<Flow>::iterator;

  uint64_t rows_ahead(const QueuedRequest& request) const;
  uint64_t rows_in_turns(uint64_t turns) const;
  FlowAt flow_of(uint64_t key);
  void enqueue(WaitingAt waiting);
  void drop_rows(FlowAt flow, WaitingAt waiting);
  void drop_flow_if_empty(FlowAt flow);

  QueueLimits limits_;
  DrainRate rate_;
  std::list<Flow> flows_;  // in turn; only those with rows
  std::unordered_map<uint64_t, FlowAt> flow_by_key_;
  std::list<Waiting> idle_;  // all rows taken, not forgotten yet
  std::unordered_map<uint64_t, WaitingAt> by_request_;
  uint64_t queued_rows_ = 0;
  uint64_t queued_bytes_ = 0;
  uint32_t outstanding_ = 0;
  uint32_t limit_ = 0;
};

}  // namespace hearth::policy
