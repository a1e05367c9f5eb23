// One thread's event loop: descriptors, timers, posted functions, coroutines.
//
// A turn: wait for descriptors → due timers → callbacks of ready descriptors → functions posted by other threads →
// resumed coroutines → deferred functions (that is where writes go out, many queued in one turn in one system call).
// Everything but post() and stop() belongs to the thread that calls run().
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"
#include "net/task.hpp"

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace hearth::net {

using Job = std::move_only_function<void()>;

/// Why a waiting coroutine goes on.
enum class Wake { signalled, timeout, stopping };

/// What a descriptor is watched for, and what it was found to be. `closed`: the peer has stopped sending. That it has
/// gone altogether, or an error, is reported as `closed` even when not asked for.
struct Readiness {
  bool readable = false;
  bool writable = false;
  bool closed = false;
};

/// Owns one timer; destroying it cancels.
class Timer {
 public:
  Timer() = default;
  Timer(Timer&& other) noexcept = default;
  Timer& operator=(Timer&& other) noexcept;
  ~Timer() { cancel(); }
  void cancel();
  /// False once it has run (unless it repeats) or was cancelled.
  bool is_set() const;

  struct State;  // private
  explicit Timer(std::shared_ptr<State> state) : state_(std::move(state)) {}

 private:
  std::shared_ptr<State> state_;
};

/// Owns one registration of a descriptor (not the descriptor: end the watch before closing it). The function may
/// destroy its own Watch. Level-triggered: it is called every turn while the descriptor is ready.
class Watch {
 public:
  Watch() = default;
  Watch(Watch&& other) noexcept = default;
  Watch& operator=(Watch&& other) noexcept;
  ~Watch() { cancel(); }
  void cancel();
  bool is_active() const;
  /// Changes what is watched; costs a system call only when it differs.
  void want(Readiness interest);

  struct State;  // private
  explicit Watch(std::shared_ptr<State> state) : state_(std::move(state)) {}

 private:
  std::shared_ptr<State> state_;
};

class EventLoop {
 public:
  EventLoop();
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  /// Runs until stop(); then every spawned task has to end (they are woken with Wake::stopping), at most for
  /// `grace`; what is left after it is named in a log line and abandoned.
  void run(Duration grace = seconds(10));
  /// Thread-safe, and may be called twice.
  void stop();
  bool is_stopping() const;
  /// For tests and tools: turns until `done` or until `limit` has passed; returns what `done` said last.
  bool run_until(const std::function<bool()>& done, Duration limit = seconds(10));

  /// Runs the function on the loop's thread. Thread-safe; the only way in from other threads.
  void post(Job job);
  /// Runs the function at the end of this turn, after all that was ready.
  void defer(Job job);

  /// Starts the coroutine on this loop and keeps it in the group that run() awaits. An exception that leaves it stops
  /// the process. Loop thread only (from elsewhere: post a function that spawns). No capturing-lambda coroutines.
  void spawn(Task<> task);
  size_t tasks() const;

  /// Wake::timeout after the duration, Wake::stopping at once when the loop stops:
  /// `Wake wake = co_await loop.sleep(seconds(2)); if (wake == Wake::stopping) co_return;`
  Task<Wake> sleep(Duration duration);

  /// Time at the start of this turn: free of cost, right to within a turn.
  MonoTime now() const;
  /// Resolution: one millisecond, never early.
  [[nodiscard]] Timer call_at(MonoTime at, Job job);
  [[nodiscard]] Timer call_after(Duration duration, Job job);
  [[nodiscard]] Timer call_every(Duration interval, std::function<void()> function);

  /// Watches any pollable descriptor: a socket, pidfd, inotify, cgroup event file. The descriptor must be open.
  [[nodiscard]] Watch watch(int fd, Readiness interest, std::move_only_function<void(Readiness)> function);

  /// SIGTERM, SIGINT, SIGHUP … as calls on the loop. One loop per process; replaces the process's handlers for these
  /// signals until the loop is destroyed.
  void on_signals(std::initializer_list<int> signals, std::function<void(int)> function);

  /// 256 KiB for reading into, shared by all that read on this loop; valid until the next read.
  std::span<char> scratch();

 private:
  friend class Event;
  struct State;
  friend struct Timer::State;
  friend struct Watch::State;
  std::unique_ptr<State> state_;
};

/// What a coroutine waits for, set by other code on the same loop. Any number may wait; the event must outlive them.
class Event {
 public:
  explicit Event(EventLoop& loop) : loop_(loop) {}
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  /// Wakes all who wait, and lets later waits through until reset().
  void set();
  void reset() { set_ = false; }
  bool is_set() const { return set_; }
  /// Never Wake::timeout.
  Task<Wake> wait();
  Task<Wake> wait_until(Deadline deadline);

  struct Waiter;  // private

 private:
  friend class EventLoop;
  EventLoop& loop_;
  bool set_ = false;
  std::vector<std::shared_ptr<Waiter>> waiters_;
};

}  // namespace hearth::net
