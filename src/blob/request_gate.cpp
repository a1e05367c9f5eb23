#include "blob/request_gate.hpp"

namespace hearth::blob {

bool RequestGate::free_for(Priority priority) const {
  if (inside_ >= most_) return false;
  return priority == Priority::demand || (prefetch_inside_ < most_prefetch_ && demand_waiting_ == 0);
}

Result<RequestGate::Place> RequestGate::enter(Priority priority, const Patience& patience) {
  std::unique_lock lock(mutex_);
  const auto free = [this, priority] { return free_for(priority); };
  if (priority == Priority::demand) ++demand_waiting_;
  bool entered = false;
  if (patience.deadline.at()) {
    entered = changed_.wait_until(lock, patience.stop, *patience.deadline.at(), free);
  } else {
    entered = changed_.wait(lock, patience.stop, free);
  }
  if (priority == Priority::demand) --demand_waiting_;
  if (!entered) {
    changed_.notify_all();  // a prefetch may have waited for this demand read
    if (patience.stop.stop_requested()) return fail(ErrorCode::cancelled, "no longer wanted");
    return fail(ErrorCode::deadline_exceeded, "no connection became free in time");
  }
  ++inside_;
  if (priority == Priority::prefetch) ++prefetch_inside_;
  if (demand_waiting_ == 0) changed_.notify_all();
  return Place(this, priority);
}

void RequestGate::leave(Priority priority) {
  const std::lock_guard lock(mutex_);
  --inside_;
  if (priority == Priority::prefetch) --prefetch_inside_;
  changed_.notify_all();
}

}  // namespace hearth::blob
