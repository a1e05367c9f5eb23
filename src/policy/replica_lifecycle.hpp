// The life of one replica (one version on one node) as a pure state machine: step(event, now) → actions.
// It decides when to start, freeze, thaw, stop and try again; the node does it. Single-threaded, no clock of its own.
#pragma once

#include "base/clock.hpp"
#include "policy/idle_policy.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace hearth::policy {

/// absent → fetching → starting → loading → ready ⇄ paused → draining → stopped, and beside them stalled,
/// crash_loop and unknown.
enum class ReplicaState {
  absent,      // nothing runs and nobody has asked
  fetching,    // its layers are being brought to local disk
  starting,    // mounts and container are being made
  loading,     // the container runs; no worker takes requests yet (import, setup, or a fork after a death)
  ready,       // at least one worker takes requests
  paused,      // frozen in memory: costs no cpu, back in milliseconds
  draining,    // takes no new requests; being stopped
  stopped,     // nothing runs; it ran or tried to, and `reason` says why it does no longer
  stalled,     // a worker does not come back even after it was killed; the container will be
  crash_loop,  // failed again and again without finishing a request; tried again only after a long back-off
  unknown,     // its process lives but does not answer: kept, reported, asked again; never taken for dead
};

/// Stable lower-case name, used in logs, status, fleet state and tests.
std::string_view to_string(ReplicaState state);

/// The legal arrows; every other change of state is a bug.
///   absent|stopped|crash_loop → fetching · fetching → starting → loading → ready
///   ready ⇄ paused · ready → loading (the last worker died) · ready → stalled → draining
///   any with a process (starting…paused, stalled) ⇄ unknown, → draining; any with a process → stopped|crash_loop
///   (death) draining → stopped · unknown → loading|ready|paused (answered again)
bool is_legal(ReplicaState from, ReplicaState to);

/// True while a container may exist.
bool has_process(ReplicaState state);

struct LifecycleLimits {
  IdleLimits idle;
  Duration start_timeout = std::chrono::minutes(10);  // from the start of the start to the first ready worker
  Duration backoff_first = std::chrono::milliseconds(500);
  Duration backoff_max = std::chrono::seconds(60);
  uint32_t crash_loop_after = 5;  // failures in a row, without a finished request between them
};

namespace lifecycle {
/// A router wants it ready, or requests wait for it.
struct Wanted {};
/// The start got as far as fetching, starting or loading.
struct Reached {
  ReplicaState state;
};
/// How many workers take requests now.
struct Workers {
  uint32_t ready;
};
/// The start failed before any worker was ready; whatever was made is gone.
struct StartFailed {
  std::string reason;
};
/// A worker died while serving; the supervisor forks another.
struct WorkerDied {
  std::string reason;
};
/// The container is gone.
struct Died {
  std::string reason;
};
/// Requests queued or running, told when it becomes zero or non-zero.
struct Load {
  uint64_t outstanding;
};
/// The model answered something: what failed before was no loop.
struct Finished {};
/// A worker did not come back after it was killed.
struct Stuck {
  std::string reason;
};
struct ContactLost {};
struct ContactMade {
  bool frozen;
};
/// Asked to stop: forgotten, or the node shuts down.
struct Stop {
  std::string reason;
};
/// The container is confirmed gone after a stop.
struct Stopped {};
struct Tick {};

using Event = std::variant<Wanted, Reached, Workers, StartFailed, WorkerDied, Died, Load, Finished, Stuck, ContactLost,
                           ContactMade, Stop, Stopped, Tick>;

enum class ActionKind {
  start,         // begin a start; answers with Reached, Workers, StartFailed
  pause,         // freeze
  thaw,          // unfreeze, then send
  stop,          // drain, stop and destroy; answers with Stopped
  fail_waiters,  // nobody can be served now: tell them `reason`
  announce,      // the state changed
};

struct Action {
  ActionKind kind;
  std::string reason;
  bool operator==(const Action&) const = default;
};
}  // namespace lifecycle

/// A failed start tells its waiters at once, with the reason, and so does every Wanted until the back-off is over.
/// A death while serving starts again, the first time at once, then with back-off; who waits goes on waiting, until
/// crash_loop.
class ReplicaLifecycle {
 public:
  using Actions = std::vector<lifecycle::Action>;

  explicit ReplicaLifecycle(LifecycleLimits limits) : limits_(limits) {}

  /// Known only once the version's record has been read.
  void set_limits(const LifecycleLimits& limits) { limits_ = limits; }

  Actions step(const lifecycle::Event& event, MonoTime now);
  /// When step(Tick) has something to do, if nothing happens before.
  std::optional<MonoTime> next_wakeup(MonoTime now) const;

  ReplicaState state() const { return state_; }
  MonoTime since() const { return since_; }
  /// Why it does not run: of the last failure, empty after success.
  const std::string& reason() const { return reason_; }
  /// Before this a Wanted is answered with the last failure instead of a new start.
  std::optional<MonoTime> retry_at() const { return retry_at_; }
  uint32_t failures_in_a_row() const { return failures_; }
  /// It does not run and will not until somebody asks again after retry_at().
  bool has_failed() const;
  /// It does not run, and is going to be started without being asked.
  bool will_start_again() const;

 private:
  void on(const lifecycle::Wanted&, MonoTime now);
  void on(const lifecycle::Reached& event, MonoTime now);
  void on(const lifecycle::Workers& event, MonoTime now);
  void on(const lifecycle::StartFailed& event, MonoTime now);
  void on(const lifecycle::WorkerDied& event, MonoTime now);
  void on(const lifecycle::Died& event, MonoTime now);
  void on(const lifecycle::Load& event, MonoTime now);
  void on(const lifecycle::Finished&, MonoTime now);
  void on(const lifecycle::Stuck& event, MonoTime now);
  void on(const lifecycle::ContactLost&, MonoTime now);
  void on(const lifecycle::ContactMade& event, MonoTime now);
  void on(const lifecycle::Stop& event, MonoTime now);
  void on(const lifecycle::Stopped&, MonoTime now);
  void on(const lifecycle::Tick&, MonoTime now);

  void go(ReplicaState to, MonoTime now);
  void act(lifecycle::ActionKind kind, std::string reason = {});
  /// Why a stop was begun decides what follows it.
  enum class StopCause { asked, failed, restart };
  enum class Next { tell_waiters, start_again };

  void failed(std::string reason, Next next, MonoTime now);
  void begin_start(MonoTime now);
  void begin_stop(StopCause cause, std::string reason, MonoTime now);

  LifecycleLimits limits_;
  ReplicaState state_ = ReplicaState::absent;
  MonoTime since_{};
  MonoTime start_began_{};
  MonoTime idle_since_{};
  uint64_t outstanding_ = 0;
  uint32_t ready_workers_ = 0;
  uint32_t failures_ = 0;
  bool wanted_again_ = false;  // start when the stop is done, or at retry_at_
  StopCause stop_cause_ = StopCause::asked;
  bool served_ = false;  // was ready in this life: its death is no failed start
  std::optional<MonoTime> retry_at_;
  std::string reason_;
  Actions actions_;
};

}  // namespace hearth::policy
