#include "policy/replica_lifecycle.hpp"

#include "base/result.hpp"

#include <algorithm>
#include <utility>

namespace hearth::policy {

using lifecycle::ActionKind;
using enum ReplicaState;

std::string_view to_string(ReplicaState state) {
  switch (state) {
    case absent:
      return "absent";
    case fetching:
      return "fetching";
    case starting:
      return "starting";
    case loading:
      return "loading";
    case ready:
      return "ready";
    case paused:
      return "paused";
    case draining:
      return "draining";
    case stopped:
      return "stopped";
    case stalled:
      return "stalled";
    case crash_loop:
      return "crash_loop";
    case unknown:
      return "unknown";
  }
  return "unknown";
}

bool has_process(ReplicaState state) {
  return state != absent && state != stopped && state != crash_loop;
}

bool is_legal(ReplicaState from, ReplicaState to) {
  if (to == fetching) return !has_process(from);
  if (to == stopped || to == crash_loop) return has_process(from);
  if (to == draining) return has_process(from) && from != draining;
  if (to == unknown) return from == starting || from == loading || from == ready || from == paused || from == absent;
  switch (to) {
    case starting:
      return from == fetching;
    case loading:
      return from == starting || from == ready || from == unknown;
    case ready:
      return from == loading || from == paused || from == unknown;
    case paused:
      return from == ready || from == unknown;
    case stalled:
      return from == ready || from == loading;
    default:
      return false;  // nothing becomes absent again
  }
}

ReplicaLifecycle::Actions ReplicaLifecycle::step(const lifecycle::Event& event, MonoTime now) {
  actions_.clear();
  std::visit([this, now](const auto& e) { on(e, now); }, event);
  return std::exchange(actions_, {});
}

std::optional<MonoTime> ReplicaLifecycle::next_wakeup(MonoTime now) const {
  switch (state_) {
    case fetching:
    case starting:
    case loading:
      return start_began_ + limits_.start_timeout;
    case ready:
    case paused:
      if (outstanding_ > 0) return std::nullopt;
      return idle_decision(limits_.idle, idle_since_, std::max(now, idle_since_)).next;
    case stopped:
    case crash_loop:
      return wanted_again_ ? retry_at_ : std::nullopt;
    default:
      return std::nullopt;
  }
}

bool ReplicaLifecycle::has_failed() const {
  if (state_ == draining) return stop_cause_ == StopCause::failed;
  return state_ == crash_loop || (state_ == stopped && retry_at_ && !wanted_again_);
}

bool ReplicaLifecycle::will_start_again() const {
  if (state_ == draining)
    return stop_cause_ == StopCause::restart || (stop_cause_ == StopCause::asked && wanted_again_);
  return state_ == stopped && wanted_again_;
}

void ReplicaLifecycle::go(ReplicaState to, MonoTime now) {
  if (to == state_) return;
  CHECK_PROMISE(is_legal(state_, to));
  state_ = to;
  since_ = now;
  if (to == ready || to == unknown || to == paused) served_ = true;
  act(ActionKind::announce);
}

void ReplicaLifecycle::act(ActionKind kind, std::string reason) {
  actions_.push_back({kind, std::move(reason)});
}

void ReplicaLifecycle::begin_start(MonoTime now) {
  wanted_again_ = false;
  retry_at_.reset();
  ready_workers_ = 0;
  served_ = false;
  start_began_ = now;
  go(fetching, now);
  act(ActionKind::start);
}

void ReplicaLifecycle::begin_stop(StopCause cause, std::string reason, MonoTime now) {
  reason_ = reason;
  stop_cause_ = cause;
  ready_workers_ = 0;
  go(draining, now);
  act(ActionKind::stop, reason);
  if (cause == StopCause::failed) act(ActionKind::fail_waiters, std::move(reason));
}

/// Nothing runs any more, and not because somebody asked for it.
void ReplicaLifecycle::failed(std::string reason, Next next, MonoTime now) {
  ++failures_;
  reason_ = std::move(reason);
  ready_workers_ = 0;
  const bool looping = failures_ >= limits_.crash_loop_after;
  go(looping ? crash_loop : stopped, now);
  wanted_again_ = next == Next::start_again && !looping;
  if (wanted_again_ && failures_ == 1) return begin_start(now);
  const uint32_t doublings = std::min(failures_ - 1, 20U);
  retry_at_ = now + std::min<Duration>(limits_.backoff_first * (int64_t{1} << doublings), limits_.backoff_max);
  if (!wanted_again_) act(ActionKind::fail_waiters, reason_);
}

void ReplicaLifecycle::on(const lifecycle::Wanted&, MonoTime now) {
  switch (state_) {
    case absent:
      return begin_start(now);
    case stopped:
    case crash_loop:
      if (!retry_at_ || now >= *retry_at_) return begin_start(now);
      if (!wanted_again_) act(ActionKind::fail_waiters, reason_);
      return;
    case paused:
      idle_since_ = now;
      go(ready, now);
      return act(ActionKind::thaw);
    case draining:
      if (stop_cause_ == StopCause::failed) return act(ActionKind::fail_waiters, reason_);
      wanted_again_ = true;
      return;
    case ready:
      idle_since_ = std::max(idle_since_, now);
      return;
    default:
      return;  // on its way, or nothing to be done
  }
}

void ReplicaLifecycle::on(const lifecycle::Reached& event, MonoTime now) {
  const bool forward = (state_ == fetching && (event.state == starting || event.state == loading)) ||
                       (state_ == starting && event.state == loading);
  if (!forward) return;  // a late report of a start that was given up
  if (state_ == fetching && event.state == loading) go(starting, now);
  go(event.state, now);
}

void ReplicaLifecycle::on(const lifecycle::Workers& event, MonoTime now) {
  ready_workers_ = event.ready;
  if (event.ready > 0 && (state_ == loading || state_ == unknown)) {
    idle_since_ = now;
    reason_.clear();
    return go(ready, now);
  }
  if (event.ready == 0 && state_ == ready) {
    start_began_ = now;  // a fork and an import get the whole start time again
    go(loading, now);
  }
}

void ReplicaLifecycle::on(const lifecycle::StartFailed& event, MonoTime now) {
  if (state_ == draining) return on(lifecycle::Stopped{}, now);  // stopped while it was starting
  if (has_process(state_)) failed(event.reason, Next::tell_waiters, now);
}

void ReplicaLifecycle::on(const lifecycle::WorkerDied& event, MonoTime now) {
  if (state_ != ready && state_ != loading) return;
  ++failures_;
  reason_ = event.reason;
  if (failures_ < 4 * limits_.crash_loop_after) return;  // the supervisor forks again, with its own back-off
  begin_stop(StopCause::failed, "the workers died " + std::to_string(failures_) + " times in a row: " + event.reason,
             now);
}

void ReplicaLifecycle::on(const lifecycle::Died& event, MonoTime now) {
  if (!has_process(state_)) return;
  if (state_ == draining) return on(lifecycle::Stopped{}, now);
  failed(event.reason, served_ ? Next::start_again : Next::tell_waiters, now);
}

void ReplicaLifecycle::on(const lifecycle::Load& event, MonoTime now) {
  if (outstanding_ > 0 && event.outstanding == 0) idle_since_ = now;
  outstanding_ = event.outstanding;
  if (outstanding_ > 0 && state_ != ready) on(lifecycle::Wanted{}, now);
}

void ReplicaLifecycle::on(const lifecycle::Finished&, MonoTime) {
  failures_ = 0;
  if (has_process(state_) && state_ != draining) reason_.clear();
}

void ReplicaLifecycle::on(const lifecycle::Stuck& event, MonoTime now) {
  if (state_ != ready && state_ != loading) return;
  go(stalled, now);
  begin_stop(StopCause::restart, event.reason, now);
}

void ReplicaLifecycle::on(const lifecycle::ContactLost&, MonoTime now) {
  if (is_legal(state_, unknown)) go(unknown, now);
}

void ReplicaLifecycle::on(const lifecycle::ContactMade& event, MonoTime now) {
  if (state_ != unknown) return;
  idle_since_ = now;
  start_began_ = now;
  if (event.frozen) return go(paused, now);
  go(ready_workers_ > 0 ? ready : loading, now);
}

void ReplicaLifecycle::on(const lifecycle::Stop& event, MonoTime now) {
  wanted_again_ = false;
  failures_ = 0;
  retry_at_.reset();
  if (!has_process(state_)) return;
  stop_cause_ = StopCause::asked;
  if (state_ != draining) begin_stop(StopCause::asked, event.reason, now);
}

void ReplicaLifecycle::on(const lifecycle::Stopped&, MonoTime now) {
  if (state_ != draining) return;
  if (stop_cause_ == StopCause::failed) return failed(std::string(reason_), Next::tell_waiters, now);
  if (stop_cause_ == StopCause::restart) return failed(std::string(reason_), Next::start_again, now);
  go(stopped, now);
  if (wanted_again_ || outstanding_ > 0) begin_start(now);
}

void ReplicaLifecycle::on(const lifecycle::Tick&, MonoTime now) {
  if (state_ == fetching || state_ == starting || state_ == loading) {
    if (now - start_began_ < limits_.start_timeout) return;
    return begin_stop(StopCause::failed, "it was not ready within the start timeout", now);
  }
  if ((state_ == stopped || state_ == crash_loop) && wanted_again_) {
    if (!retry_at_ || now >= *retry_at_) begin_start(now);
    return;
  }
  if ((state_ != ready && state_ != paused) || outstanding_ > 0) return;
  const IdleDecision decision = idle_decision(limits_.idle, idle_since_, std::max(now, idle_since_));
  if (decision.verdict == IdleVerdict::stop) return begin_stop(StopCause::asked, "idle", now);
  if (decision.verdict == IdleVerdict::pause && state_ == ready) {
    go(paused, now);
    act(ActionKind::pause);
  }
}

}  // namespace hearth::policy
