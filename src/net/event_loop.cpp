#include "net/event_loop.hpp"

#include "base/log.hpp"
#include "net/event_loop_state.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <exception>

namespace hearth::net {

namespace {

constexpr size_t kScratchBytes = 256 * 1024;
constexpr size_t kEventsPerTurn = 128;
constexpr int kReadyRounds =
    32;  // resumed coroutines may resume others; after this many rounds descriptors have a turn

std::atomic<int> signal_write_fd{-1};

// Async-signal-safe: one write of the signal's number.
void forward_signal(int signal_number) {
  int saved = errno;
  auto byte = static_cast<unsigned char>(signal_number);
  [[maybe_unused]] ssize_t written = ::write(signal_write_fd.load(), &byte, 1);
  errno = saved;
}

uint32_t epoll_mask(Readiness interest) {
  uint32_t mask = 0;  // errors and a full hang-up are always reported
  if (interest.readable) mask |= EPOLLIN;
  if (interest.writable) mask |= EPOLLOUT;
  if (interest.closed) mask |= EPOLLRDHUP;
  return mask;
}

Readiness from_epoll(uint32_t mask) {
  return {.readable = (mask & (EPOLLIN | EPOLLPRI)) != 0,
          .writable = (mask & EPOLLOUT) != 0,
          .closed = (mask & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0};
}

}  // namespace

Timer& Timer::operator=(Timer&& other) noexcept {
  if (this == &other) return *this;
  cancel();
  state_ = std::move(other.state_);
  return *this;
}

void Timer::cancel() {
  if (!state_) return;
  if (state_->loop != nullptr) {
    state_->loop->timers.erase({state_->at, state_->id});
    state_->loop = nullptr;
  }
  state_.reset();
}

bool Timer::is_set() const {
  return state_ && state_->loop != nullptr;
}

Watch& Watch::operator=(Watch&& other) noexcept {
  if (this == &other) return *this;
  cancel();
  state_ = std::move(other.state_);
  return *this;
}

void Watch::cancel() {
  if (!state_) return;
  if (auto* loop = state_->loop) {
    ::epoll_ctl(loop->epoll.get(), EPOLL_CTL_DEL, state_->fd, nullptr);
    state_->loop = nullptr;
    loop->watches.erase(state_.get());
    loop->graveyard.push_back(std::move(state_));
  }
  state_.reset();
}

bool Watch::is_active() const {
  return state_ && state_->loop != nullptr;
}

void Watch::want(Readiness interest) {
  if (!state_ || state_->loop == nullptr || epoll_mask(interest) == epoll_mask(state_->interest)) return;
  state_->interest = interest;
  epoll_event event{.events = epoll_mask(interest), .data = {.ptr = state_.get()}};
  ::epoll_ctl(state_->loop->epoll.get(), EPOLL_CTL_MOD, state_->fd, &event);
}

EventLoop::EventLoop() : state_(std::make_unique<State>()) {
  state_->epoll = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  state_->wake_fd = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  CHECK_PROMISE(state_->epoll && state_->wake_fd);
  int wake_fd = state_->wake_fd.get();
  state_->wake_watch = watch(wake_fd, {.readable = true}, [wake_fd](Readiness) {
    uint64_t count = 0;
    [[maybe_unused]] ssize_t got = ::read(wake_fd, &count, sizeof count);
  });
}

EventLoop::~EventLoop() {
  if (!state_->old_actions.empty()) {
    for (const auto& [number, action] : state_->old_actions) ::sigaction(number, &action, nullptr);
    ::close(signal_write_fd.exchange(-1));
  }
  state_->signal_watch.cancel();
  state_->wake_watch.cancel();
  // Abandoned coroutines are destroyed here, while timers and watches they hold can still be cancelled.
  std::vector<Job> posted;
  {
    std::lock_guard lock(state_->posted_mutex);
    posted.swap(state_->posted);
  }
  posted.clear();
  for (auto waiters = std::exchange(state_->waiters, {}); const auto& waiter : waiters) waiter->resume = nullptr;
  state_->ready.clear();
  state_->deferred.clear();
  for (auto timers = std::exchange(state_->timers, {}); auto& [key, timer] : timers) timer->loop = nullptr;
  for (auto watches = std::exchange(state_->watches, {}); auto& [key, watch] : watches) watch->loop = nullptr;
}

void EventLoop::run(Duration grace) {
  while (!state_->stopping) state_->turn(seconds(3600));
  MonoTime give_up = mono_now() + grace;
  while (state_->tasks > 0 && mono_now() < give_up) state_->turn(give_up - mono_now());
  state_->turn(Duration::zero());  // what was queued last leaves
  if (state_->tasks > 0) log_warning("tasks did not end in time and are abandoned", {{"tasks", state_->tasks}});
}

void EventLoop::stop() {
  post([state = state_.get()] { state->begin_stop(); });
}

bool EventLoop::is_stopping() const {
  return state_->stopping;
}

bool EventLoop::run_until(const std::function<bool()>& done, Duration limit) {
  MonoTime give_up = mono_now() + limit;
  while (!done()) {
    if (mono_now() >= give_up) return done();
    state_->turn(std::min<Duration>(give_up - mono_now(), milliseconds(20)));
  }
  return true;
}

void EventLoop::post(Job job) {
  bool was_empty = false;
  {
    std::lock_guard lock(state_->posted_mutex);
    was_empty = state_->posted.empty();
    state_->posted.push_back(std::move(job));
  }
  if (!was_empty) return;  // whoever queued first has woken the loop
  uint64_t one = 1;
  [[maybe_unused]] ssize_t written = ::write(state_->wake_fd.get(), &one, sizeof one);
}

void EventLoop::defer(Job job) {
  state_->deferred.push_back(std::move(job));
}

void EventLoop::spawn(Task<> task) {
  ++state_->tasks;
  boost::asio::co_spawn(state_->asio.get_executor(), std::move(task),
                        [state = state_.get()](const std::exception_ptr& thrown) {
                          --state->tasks;
                          if (!thrown) return;
                          try {
                            std::rethrow_exception(thrown);
                          } catch (const std::exception& error) {
                            log_error("exception left a task", {{"what", error.what()}});
                          }
                          broken_promise("an exception left a task", __FILE__, __LINE__);
                        });
}

size_t EventLoop::tasks() const {
  return state_->tasks;
}

MonoTime EventLoop::now() const {
  return state_->now;
}

Timer EventLoop::State::set_timer(MonoTime at, Job job, Duration interval) {
  auto timer = std::make_shared<Timer::State>();
  timer->loop = this;
  timer->at = at;
  timer->id = next_timer++;
  timer->interval = interval;
  timer->job = std::move(job);
  timers.emplace(std::pair(at, timer->id), timer);
  return Timer(std::move(timer));
}

Timer EventLoop::call_at(MonoTime at, Job job) {
  return state_->set_timer(at, std::move(job));
}

Timer EventLoop::call_after(Duration duration, Job job) {
  return call_at(mono_now() + duration, std::move(job));
}

Timer EventLoop::call_every(Duration interval, std::function<void()> function) {
  CHECK_PROMISE(interval > Duration::zero());
  return state_->set_timer(mono_now() + interval, std::move(function), interval);
}

Watch EventLoop::watch(int fd, Readiness interest, std::move_only_function<void(Readiness)> function) {
  auto watch = std::make_shared<Watch::State>();
  watch->loop = state_.get();
  watch->fd = fd;
  watch->interest = interest;
  watch->function = std::move(function);
  epoll_event event{.events = epoll_mask(interest), .data = {.ptr = watch.get()}};
  CHECK_PROMISE(::epoll_ctl(state_->epoll.get(), EPOLL_CTL_ADD, fd, &event) == 0);
  state_->watches.emplace(watch.get(), watch);
  return Watch(std::move(watch));
}

void EventLoop::on_signals(std::initializer_list<int> signals, std::function<void(int)> function) {
  CHECK_PROMISE(signal_write_fd.load() == -1);
  std::array<int, 2> ends{};
  CHECK_PROMISE(::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) == 0);
  state_->signal_pipe = UniqueFd(ends[0]);
  signal_write_fd.store(ends[1]);
  for (int number : signals) {
    struct sigaction action{};
    struct sigaction old{};
    action.sa_handler = forward_signal;
    action.sa_flags = SA_RESTART;
    CHECK_PROMISE(::sigaction(number, &action, &old) == 0);
    state_->old_actions.emplace_back(number, old);
  }
  int read_end = ends[0];
  state_->signal_watch = watch(read_end, {.readable = true}, [read_end, function = std::move(function)](Readiness) {
    unsigned char number = 0;
    while (::read(read_end, &number, 1) == 1) function(number);
  });
}

std::span<char> EventLoop::scratch() {
  if (state_->scratch.empty()) state_->scratch.resize(kScratchBytes);
  return state_->scratch;
}

void EventLoop::State::turn(Duration longest_wait) {
  std::array<epoll_event, kEventsPerTurn> events;
  int count = ::epoll_wait(epoll.get(), events.data(), static_cast<int>(events.size()), wait_ms(longest_wait));
  CHECK_PROMISE(count >= 0 || errno == EINTR);
  now = mono_now();
  run_timers();
  for (int i = 0; i < count; ++i) {
    auto* watch = static_cast<Watch::State*>(events[static_cast<size_t>(i)].data.ptr);
    if (watch->loop != nullptr) watch->function(from_epoll(events[static_cast<size_t>(i)].events));
  }
  run_posted();
  run_ready();
  // Twice: a job that gathers what one turn has brought ends in a write, which is deferred itself.
  run_list(deferred);
  run_list(deferred);
  graveyard.clear();
}

int EventLoop::State::wait_ms(Duration longest_wait) const {
  if (!ready.empty() || !deferred.empty()) return 0;
  Duration wait = longest_wait;
  if (!timers.empty()) wait = std::min(wait, timers.begin()->first.first - mono_now());
  if (wait <= Duration::zero()) return 0;
  return static_cast<int>(std::chrono::ceil<milliseconds>(wait).count());
}

void EventLoop::State::run_timers() {
  // Those due now; timers set by the ones that run wait for the next turn.
  uint64_t first_new = next_timer;
  while (!timers.empty()) {
    auto first = timers.begin();
    if (first->first.first > now || first->first.second >= first_new) break;
    std::shared_ptr<Timer::State> timer = std::move(first->second);
    timers.erase(first);
    if (timer->interval == Duration::zero()) {
      timer->loop = nullptr;
    } else {
      timer->at = now + timer->interval;
      timers.emplace(std::pair(timer->at, timer->id), timer);
    }
    timer->job();
  }
}

void EventLoop::State::run_posted() {
  {
    std::lock_guard lock(posted_mutex);
    if (posted.empty()) return;
    std::swap(posted, posted_running);
  }
  for (Job& job : posted_running) std::exchange(job, nullptr)();
  posted_running.clear();
}

void EventLoop::State::run_ready() {
  for (int round = 0; round < kReadyRounds; ++round) {
    size_t ran = asio.poll();
    if (ready.empty() && ran == 0) return;
    run_list(ready);
  }
  // More coroutines wait in Asio's queue: come back without sleeping.
  ready.emplace_back([] {});
}

void EventLoop::State::run_list(std::vector<Job>& list) {
  if (list.empty()) return;
  std::vector<Job> jobs = std::exchange(running, {});
  std::swap(jobs, list);
  for (Job& job : jobs) std::exchange(job, nullptr)();
  jobs.clear();
  running = std::move(jobs);
}

void EventLoop::State::begin_stop() {
  stopping = true;
  for (const auto& waiter : std::vector(waiters.begin(), waiters.end())) wake_waiter(waiter, Wake::stopping);
}

}  // namespace hearth::net
