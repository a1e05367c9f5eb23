#include "policy/start_gate.hpp"

#include "base/quantity.hpp"

#include <algorithm>

namespace hearth::policy {
namespace {

seconds at_least_one(Duration duration) {
  return std::max(seconds(1), std::chrono::ceil<seconds>(duration));
}

}  // namespace

GateVerdict StartGate::arrive(Deadline deadline, MonoTime now) {
  GateVerdict verdict;
  switch (state_) {
    case State::open:
      return verdict;
    case State::failed:
      if (now < try_again_) {
        return {.kind = GateVerdict::Kind::refuse, .reason = reason_, .retry_after = at_least_one(try_again_ - now)};
      }
      verdict = ask(now);
      break;
    case State::cold:
      verdict = ask(now);
      break;
    case State::starting:
      verdict.kind = GateVerdict::Kind::wait;
      if (now - heard_ > limits_.silence) {
        heard_ = now;
        verdict.start = StartNode::yes;
      }
      break;
  }
  if (failures_ >= limits_.crash_loop_after) {
    verdict.kind = GateVerdict::Kind::refuse;
    verdict.reason = reason_;
    verdict.retry_after = retry_after(now);
    return verdict;
  }
  const auto expected = estimate(now);
  const auto left = deadline.left(now);
  if (expected && left && *expected > *left) {
    verdict.kind = GateVerdict::Kind::refuse;
    verdict.reason = waiting_reason(now);
    verdict.retry_after = at_least_one(*expected);
  }
  return verdict;
}

GateVerdict StartGate::ask(MonoTime now) {
  state_ = State::starting;
  progressed_ = false;
  phase_.clear();
  asked_ = heard_ = now;
  ready_at_.reset();
  expect_learned_start();
  return {.kind = GateVerdict::Kind::wait, .start = StartNode::yes};
}

/// What a start took before tells how long it will take, but only when it is known that one is needed: after the
/// connection to the node was lost its replicas mostly run on.
void StartGate::expect_learned_start() {
  if (known_absent_ && learned_start_) ready_at_ = asked_ + *learned_start_;
}

GateChange StartGate::report(const TargetReport& report, MonoTime now) {
  heard_ = now;
  switch (report.state) {
    case TargetState::paused:  // takes requests: the node thaws it
    case TargetState::ready:
      known_absent_ = false;
      if (state_ == State::starting && asked_ != MonoTime{}) {
        const Duration took = now - asked_;
        learned_start_ = learned_start_ ? (*learned_start_ + took) / 2 : took;
      }
      if (state_ == State::open) return GateChange::none;
      state_ = State::open;
      return GateChange::opened;
    case TargetState::failed:
      if (state_ == State::failed && now < try_again_) return GateChange::none;
      fail(report.reason.empty() ? "the model failed to start" : report.reason, now);
      return GateChange::failed;
    case TargetState::unknown:
    case TargetState::absent: {
      known_absent_ = true;
      // Said once before a start begins; said of a start that had begun, it means that the start was given up.
      if (state_ == State::starting && !progressed_) {
        expect_learned_start();
        return GateChange::none;
      }
      if (state_ == State::failed) return GateChange::none;
      const bool was_cold = state_ == State::cold;
      state_ = State::cold;
      return was_cold ? GateChange::none : GateChange::closed;
    }
    case TargetState::fetching:
    case TargetState::starting:
    case TargetState::loading: {
      const bool was_open = state_ == State::open;
      if (state_ != State::starting) ask(now);  // somebody else asked, or the replica restarts
      progressed_ = true;
      phase_ = report.phase;
      if (report.estimate) ready_at_ = now + *report.estimate;
      return was_open ? GateChange::closed : GateChange::none;
    }
  }
  return GateChange::none;
}

void StartGate::fail(std::string reason, MonoTime now) {
  state_ = State::failed;
  reason_ = std::move(reason);
  failures_ = std::min(failures_ + 1, 30);
  Duration back_off = limits_.first_back_off;
  for (int i = 1; i < failures_ && back_off < limits_.longest_back_off; ++i) back_off *= 2;
  try_again_ = now + std::min(back_off, limits_.longest_back_off);
}

void StartGate::forget_state() {
  known_absent_ = false;
  if (state_ != State::failed) state_ = State::cold;
}

std::optional<Duration> StartGate::estimate(MonoTime now) const {
  if (state_ != State::starting || !ready_at_) return std::nullopt;
  return std::max(*ready_at_ - now, Duration::zero());
}

std::string StartGate::waiting_reason(MonoTime now) const {
  std::string text = "starting";
  if (!phase_.empty()) text += " (" + phase_ + ")";
  if (const auto left = estimate(now); left && *left > Duration::zero()) {
    text += ", ready in about " + format_duration(std::chrono::ceil<seconds>(*left));
  }
  return text;
}

seconds StartGate::retry_after(MonoTime now) const {
  if (state_ == State::failed) return at_least_one(try_again_ - now);
  return at_least_one(estimate(now).value_or(Duration::zero()));
}

}  // namespace hearth::policy
