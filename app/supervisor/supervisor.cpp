#include "supervisor/supervisor.hpp"

#include "base/log.hpp"
#include "base/process.hpp"
#include "supervisor/control.hpp"
#include "supervisor/log_rotation.hpp"
#include "supervisor/shutdown.hpp"

#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

namespace hearth::supervisor {

namespace {

constexpr Duration kRotateEvery = seconds(10);
constexpr int kStartingPollMs = 5;
constexpr Duration kHolderTime = seconds(5);  // for one that is started only to be stopped in order

/// Blocked from here on, taken in the loop.
UniqueFd open_signals() {
  sigset_t wanted;
  sigemptyset(&wanted);
  for (const int signal : {SIGCHLD, SIGTERM, SIGINT, SIGHUP}) sigaddset(&wanted, signal);
  ::sigprocmask(SIG_BLOCK, &wanted, nullptr);
  return UniqueFd(::signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK));
}

std::string end_of(const siginfo_t& info) {
  if (info.si_code == CLD_EXITED) return "exit status " + std::to_string(info.si_status);
  return "signal " + std::to_string(info.si_status);
}

}  // namespace

Result<std::unique_ptr<Supervisor>> Supervisor::open(SupervisorOptions options) {
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  TRY(auto control, SeqpacketListener::listen(options.layout.socket("supervisor")));
  return std::unique_ptr<Supervisor>(std::make_unique<Supervisor>(Private{}, std::move(options), std::move(control)));
}

Supervisor::Supervisor(Private, SupervisorOptions options, SeqpacketListener control)
    : options_(std::move(options)), control_(std::move(control)), signals_(open_signals()) {
  for (Role& role : options_.roles) slots_.push_back({.role = std::move(role)});
}

Supervisor::~Supervisor() = default;

Result<> Supervisor::run() {
  adopt();
  for (;;) {
    const MonoTime now = mono_now();
    auto stepped = step(now);
    if (!stepped || wait(now) == Order::stop) {
      stop_all();
      return stepped;
    }
  }
}

/// Takes over what an earlier supervisor, killed, left running.
void Supervisor::adopt() {
  const auto state = read_run_state(options_.layout.state());
  if (!state) return;
  for (Slot& slot : slots_) {
    const auto recorded = std::ranges::find(state->processes, slot.role.name, &ProcessState::role);
    if (recorded == state->processes.end()) continue;
    slot.process = WatchedProcess::find(recorded->pid, recorded->start_time);
    if (!slot.process) continue;
    slot.started_us = recorded->started_us;
    slot.backoff = policy::RestartBackoff(policy::RestartLimits{}, recorded->restarts);
    slot.ever_ready = true;
    log_info("adopted", {{"role", slot.role.name}, {"pid", recorded->pid}});
  }
}

/// Starts what is due, in order: a role waits until those before it have been ready once.
Result<> Supervisor::step(MonoTime now) {
  reap();
  for (Slot& slot : slots_) {
    if (slot.process && slot.process->ended()) TRY_VOID(on_death(slot, now));
    if (!slot.process && now >= slot.start_at) TRY_VOID(start_due(slot, now));
    if (slot.process && !slot.ready) TRY_VOID(check_ready(slot, now));
    if (!slot.ever_ready) break;
  }
  ends_.clear();
  if (!announced_ && all_ready()) {
    announced_ = true;
    record();
    if (options_.on_ready) options_.on_ready();
  }
  rotate_logs(now);
  return {};
}

Result<> Supervisor::start_due(Slot& slot, MonoTime now) {
  if (!announced_ && options_.on_progress) options_.on_progress("starting " + slot.role.name);
  slot.backoff.on_start(now);
  slot.launched = now;
  std::error_code no_log;
  const uintmax_t log_size = std::filesystem::file_size(slot.role.launch.log, no_log);
  slot.log_start = no_log ? 0 : log_size;
  LaunchOptions prepared = slot.role.launch;
  if (slot.role.prepare) slot.role.prepare(prepared);
  auto process = launch(prepared);
  if (!process) {
    if (!slot.ever_ready) return Unexpected(process.error());
    log_error("cannot start", {{"role", slot.role.name}, {"error", process.error().message}});
    slot.start_at = slot.backoff.on_death(now);
    return {};
  }
  slot.process = std::move(*process);
  slot.started_us = to_unix_us(wall_now());
  log_info("started", {{"role", slot.role.name}, {"pid", slot.process->pid()}});
  record();
  return {};
}

Result<> Supervisor::on_death(Slot& slot, MonoTime now) {
  const auto end = ends_.find(slot.process->pid());
  const std::string how = end == ends_.end() ? "" : end->second;
  log_warning("died", {{"role", slot.role.name}, {"pid", slot.process->pid()}, {"how", how}});
  slot.process.reset();
  slot.ready = false;
  slot.start_at = slot.backoff.on_death(now);
  if (slot.ever_ready) return {};
  const std::string last = log_tail(slot.role.launch.log, 3, slot.log_start);
  return fail(ErrorCode::unavailable, slot.role.name + " stopped while starting (" + how + "); the end of " +
                                          slot.role.launch.log.string() + ":\n" + last);
}

Result<> Supervisor::check_ready(Slot& slot, MonoTime now) {
  if (!slot.role.ready()) {
    if (slot.ever_ready || now - slot.launched < options_.ready_time) return {};
    const std::string last = log_tail(slot.role.launch.log, 3, slot.log_start);
    return fail(ErrorCode::deadline_exceeded,
                slot.role.name + " does not get ready; the end of " + slot.role.launch.log.string() + ":\n" + last);
  }
  slot.ready = true;
  slot.ever_ready = true;
  if (options_.on_role_ready) options_.on_role_ready(slot.role.name);
  return {};
}

bool Supervisor::all_ready() const {
  return std::ranges::all_of(slots_, &Slot::ready);
}

int Supervisor::poll_timeout_ms(MonoTime now) const {
  if (!all_ready()) {
    const bool any_starting = std::ranges::any_of(slots_, [](const Slot& s) { return s.process && !s.ready; });
    if (any_starting || !announced_) return kStartingPollMs;
  }
  MonoTime next = rotate_at_;
  for (const Slot& slot : slots_) {
    if (!slot.process) next = std::min(next, slot.start_at);
  }
  return static_cast<int>(std::clamp<int64_t>(std::chrono::ceil<milliseconds>(next - now).count(), 0, 60'000));
}

Supervisor::Order Supervisor::wait(MonoTime now) {
  std::vector<pollfd> waiting = {{signals_.get(), POLLIN, 0}, {control_.fd(), POLLIN, 0}};
  for (const Slot& slot : slots_) {
    if (slot.process) waiting.push_back({slot.process->fd(), POLLIN, 0});
  }
  if (::poll(waiting.data(), waiting.size(), poll_timeout_ms(now)) <= 0) return Order::none;
  if (waiting[0].revents != 0 && take_signals() == Order::stop) return Order::stop;
  if (waiting[1].revents != 0) return take_control();
  return Order::none;
}

Supervisor::Order Supervisor::take_signals() {
  Order order = Order::none;
  signalfd_siginfo info{};
  while (::read(signals_.get(), &info, sizeof info) == sizeof info) {
    if (info.ssi_signo != SIGCHLD) order = Order::stop;
  }
  return order;
}

Supervisor::Order Supervisor::take_control() {
  auto client = control_.accept();
  if (!client) return Order::none;
  const auto peer = client->peer();
  if (!peer || (peer->uid != 0 && peer->uid != ::geteuid())) return Order::none;
  if (take_request(*client) != Request::stop) return Order::none;
  stoppers_.push_back(std::move(*client));
  return Order::stop;
}

void Supervisor::reap() {
  for (;;) {
    siginfo_t info{};
    if (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG) != 0 || info.si_pid == 0) return;
    ends_[info.si_pid] = end_of(info);
  }
}

void Supervisor::rotate_logs(MonoTime now) {
  if (now < rotate_at_) return;
  rotate_at_ = now + kRotateEvery;
  if (options_.on_tick) options_.on_tick();
  std::vector<std::filesystem::path> logs = {options_.layout.log("supervisor")};
  for (const Slot& slot : slots_) logs.push_back(slot.role.launch.log);
  for (const std::filesystem::path& log : logs) {
    if (auto rotated = rotate_log(log); !rotated) log_warning("cannot rotate", {{"error", rotated.error().message}});
  }
}

RunState Supervisor::run_state() const {
  RunState state{.pid = ::getpid(),
                 .start_time = process_start_time(::getpid()).value_or(0),
                 .url = options_.url,
                 .data_dir = options_.layout.data,
                 .store = options_.store,
                 .ready = announced_,
                 .processes = {}};
  for (const Slot& slot : slots_) {
    if (!slot.process) continue;
    state.processes.push_back({.role = slot.role.name,
                               .pid = slot.process->pid(),
                               .start_time = slot.process->start_time(),
                               .restarts = slot.backoff.deaths(),
                               .started_us = slot.started_us});
  }
  return state;
}

void Supervisor::record() {
  if (auto written = write_run_state(options_.layout.state(), run_state()); !written) {
    log_error("cannot record what runs", {{"error", written.error().message}});
  }
}

/// One that has just died: our copy of what it relayed is not the last to go.
void Supervisor::bring_holder_back() {
  const auto slot = std::ranges::find_if(slots_, [](const Slot& one) { return one.role.name == "holder"; });
  if (slot == slots_.end() || !slot->ever_ready || (slot->process && !slot->process->ended())) return;
  if (auto started = start_due(*slot, mono_now()); !started || !slot->process) return;
  for (const auto until = Deadline::after(mono_now(), kHolderTime); !until.passed(mono_now());) {
    if (slot->role.ready() || slot->process->wait(Deadline::after(mono_now(), milliseconds(kStartingPollMs)))) return;
  }
}

void Supervisor::stop_all() {
  log_info("stopping");
  bring_holder_back();
  announced_ = false;
  record();  // a `hearth up` that comes now waits and starts anew
  RunState state = run_state();
  std::vector<Stopping> running;
  for (Slot& slot : slots_) {
    if (slot.process) running.push_back({slot.role.name, std::move(*slot.process), slot.role.stop_time});
  }
  const auto stopped =
      supervisor::stop_all(options_.layout, std::move(state), std::move(running), [this](const std::string& role) {
        log_info("stopped", {{"role", role}});
        for (SeqpacketSocket& stopper : stoppers_) tell_stopped(stopper, role);
        if (options_.on_progress) options_.on_progress("stopped " + role);
      });
  reap();
  if (!stopped) {
    log_error("something is left behind", {{"error", stopped.error().message}});
  } else if (*stopped == Holder::stays && options_.on_progress) {
    options_.on_progress(kHolderStays);
  }
}

}  // namespace hearth::supervisor
