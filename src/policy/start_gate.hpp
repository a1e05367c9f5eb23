// Cold start of one version: asked for once however many wait, failed for all at once, tried again with back-off. Pure.
#pragma once

#include "base/clock.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace hearth::policy {

/// A target as the node reports it (wire EVENT "target").
enum class TargetState { unknown, absent, fetching, starting, loading, ready, paused, failed };

struct TargetReport {
  TargetState state = TargetState::unknown;
  std::string phase;
  std::string reason;                // of a failure: one line
  std::optional<Duration> estimate;  // until ready
};

enum class StartNode { no, yes };

/// What to do with a request that arrives.
struct GateVerdict {
  enum class Kind { go, wait, refuse };
  Kind kind = Kind::go;
  StartNode start = StartNode::no;  // yes: ask the node to start the target now
  std::string reason;               // of a refusal: one line
  seconds retry_after{1};
};

enum class GateChange { none, opened, closed, failed };

/// unknown/cold → starting → open (ready) → cold (stopped when idle) …; starting → failed → (back-off) → starting.
class StartGate {
 public:
  struct Limits {
    Duration first_back_off = seconds(1);
    Duration longest_back_off = seconds(60);
    /// From this many failures in a row on, requests are refused at once even while the next try runs.
    int crash_loop_after = 3;
    /// A start nobody has reported on for so long is asked for again.
    Duration silence = seconds(30);
  };

  StartGate() = default;
  explicit StartGate(Limits limits) : limits_(limits) {}

  GateVerdict arrive(Deadline deadline, MonoTime now);
  /// `opened`: let the waiters go. `failed`: answer them all with reason(). `closed`: no longer ready.
  GateChange report(const TargetReport& report, MonoTime now);
  /// A request was answered by the model: what failed before is over.
  void served() { failures_ = 0; }
  /// The node went away or forgot: nothing is known until it reports again.
  void forget_state();

  bool open() const { return state_ == State::open; }
  bool starting() const { return state_ == State::starting; }
  /// Of the last failure; for those who wait: "starting (phase)", with the estimate when there is one.
  const std::string& reason() const { return reason_; }
  std::string waiting_reason(MonoTime now) const;
  std::optional<Duration> estimate(MonoTime now) const;
  /// When it is worth trying again: back-off left, else the estimate, else a second.
  seconds retry_after(MonoTime now) const;

 private:
  enum class State { cold, starting, open, failed };
  GateVerdict ask(MonoTime now);
  void fail(std::string reason, MonoTime now);
  void expect_learned_start();

  Limits limits_{};
  State state_ = State::cold;
  int failures_ = 0;
  std::string reason_;
  std::string phase_;
  bool progressed_ = false;
  bool known_absent_ = false;  // the node said that nothing runs; unknown is no reason to refuse anybody
  MonoTime asked_{};
  MonoTime heard_{};
  MonoTime try_again_{};
  std::optional<Duration> learned_start_;
  std::optional<MonoTime> ready_at_;  // estimate
};

}  // namespace hearth::policy
