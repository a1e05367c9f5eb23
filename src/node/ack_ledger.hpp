// Which results of one worker process have reached their router. A worker may forget a result only when the router has
// acknowledged it: until then a node that is killed loses nothing, because the worker still has it.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>

namespace hearth::node {

/// Loop thread only. One for each life ("boot") of a worker.
class AckLedger {
 public:
  /// `first`: the first result number this node sees of that life.
  explicit AckLedger(uint64_t first) : next_(first), cumulative_(first - 1) {}

  /// Result number `next()` has arrived.
  void arrived() {
    settled_.push_back(false);
    ++next_;
  }
  /// Its router has it, or nobody will ever want it.
  void settle(uint64_t seq) {
    if (seq <= cumulative_ || seq >= next_) return;
    settled_[seq - cumulative_ - 1] = true;
    while (!settled_.empty() && settled_.front()) {
      settled_.pop_front();
      ++cumulative_;
    }
  }
  /// What may be acknowledged to the worker.
  uint64_t cumulative() const { return cumulative_; }
  uint64_t next() const { return next_; }

 private:
  uint64_t next_;
  uint64_t cumulative_;
  std::deque<bool> settled_;  // of cumulative_ + 1 …
};

/// Where a result came from; empty for results made by the node.
struct ResultOrigin {
  std::shared_ptr<AckLedger> ledger;
  uint64_t seq = 0;

  void settle() const {
    if (ledger) ledger->settle(seq);
  }
};

}  // namespace hearth::node
