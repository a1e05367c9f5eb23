// Private to net: what event_loop.cpp and event.cpp share.
#pragma once

#include "base/unique_fd.hpp"
#include "net/event_loop.hpp"

#include <boost/asio/io_context.hpp>

#include <signal.h>

#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

namespace hearth::net {

struct Timer::State {
  EventLoop::State* loop = nullptr;  // null once fired, cancelled, or the loop is gone
  MonoTime at;
  uint64_t id = 0;
  Duration interval{};  // zero: once
  Job job;
};

struct Watch::State {
  EventLoop::State* loop = nullptr;  // null once cancelled, or the loop is gone
  int fd = -1;
  Readiness interest;
  std::move_only_function<void(Readiness)> function;
};

/// One suspended coroutine.
struct Event::Waiter {
  Event* event = nullptr;  // null: sleeps
  Timer timer;
  std::move_only_function<void(Wake)> resume;  // empty once woken
};

struct EventLoop::State {
  // Asio's context is used as a queue of resumed coroutines only: its own reactor is never started. Descriptors are
  // ours, because a turn has to have an end (where writes are flushed) and a read must not cost a second, failing recv.
  boost::asio::io_context asio{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> keep_asio{asio.get_executor()};

  UniqueFd epoll;
  UniqueFd wake_fd;  // eventfd
  MonoTime now = mono_now();
  bool stopping = false;
  size_t tasks = 0;
  uint64_t next_timer = 1;
  std::map<std::pair<MonoTime, uint64_t>, std::shared_ptr<Timer::State>> timers;
  std::unordered_map<Watch::State*, std::shared_ptr<Watch::State>> watches;
  std::vector<std::shared_ptr<Watch::State>> graveyard;  // cancelled in this turn: events may still point to them
  std::unordered_set<std::shared_ptr<Event::Waiter>> waiters;
  std::vector<Job> ready;
  std::vector<Job> deferred;
  std::vector<Job> running;  // reused memory of the list being run
  std::vector<char> scratch;

  std::mutex posted_mutex;
  std::vector<Job> posted;  // guarded by posted_mutex
  std::vector<Job> posted_running;

  Watch wake_watch;
  Watch signal_watch;
  UniqueFd signal_pipe;
  std::vector<std::pair<int, struct sigaction>> old_actions;

  void turn(Duration longest_wait);
  int wait_ms(Duration longest_wait) const;
  void run_timers();
  void run_posted();
  void run_ready();
  void run_list(std::vector<Job>& list);
  void begin_stop();
  void wake_waiter(const std::shared_ptr<Event::Waiter>& waiter, Wake wake);
  Timer set_timer(MonoTime at, Job job, Duration interval = {});
  Task<Wake> wait(Event* event, Deadline deadline);
};

}  // namespace hearth::net
