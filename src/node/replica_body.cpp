#include "node/replica_body.hpp"

#include "base/log.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <utility>

namespace hearth::node {

namespace {
/// How long the other half of the news (exit status, or the end of the stream) may take after the first.
constexpr Duration kDeathPatience = milliseconds(500);
constexpr Duration kReconnectInterval = milliseconds(200);
}  // namespace

ReplicaBody::ReplicaBody(Surroundings around, ReplicaRecord record, std::filesystem::path directory, BodyOwner& owner)
    : around_(std::move(around)),
      record_(std::move(record)),
      directory_(std::move(directory)),
      owner_(owner),
      alive_(std::make_shared<bool>(true)),
      supervisor_(around_.loop, control_socket(directory_), around_.greeting,
                  {.on_greeted = [this] { owner_.on_supervisor_greeted(); },
                   .on_worker_exited = [this](const WorkerExit& exit) { on_worker_exited(exit); },
                   .on_lost = [this] { on_supervisor_lost(); }}),
      deaths_(record_.slots) {
  for (uint32_t i = 0; i < record_.slots; ++i) {
    workers_.push_back(std::make_unique<WorkerLink>(around_.loop, i, worker_socket(directory_, i), around_.greeting));
    workers_.back()->set_handlers(handlers_for(i));
  }
}

ReplicaBody::~ReplicaBody() {
  *alive_ = false;
  supervisor_.close();
  for (const auto& worker : workers_) worker->close();
}

WorkerLink::Handlers ReplicaBody::handlers_for(uint32_t index) {
  return {
      .on_report = [this, index](const WorkerReport& report) { owner_.on_worker_report(index, report); },
      .on_result = [this, index](const wire::ResultView& result,
                                 ResultOrigin origin) { owner_.on_worker_result(index, result, std::move(origin)); },
      .on_input_end = [this, index] { owner_.on_worker_input_end(index); },
      .on_same_life =
          [this, index] {
            deaths_[index] = {};
            owner_.on_worker_back(index);
          },
      .on_new_life =
          [this, index] {
            if (!deaths_[index].judged) judge_worker(index);  // the exit's news was lost with a connection
            deaths_[index] = {};
          },
      .on_lost = [this, index] { on_worker_lost(index); }};
}

Result<> ReplicaBody::begin() {
  pidfd_ = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, record_.process.pid, 0)));
  if (!pidfd_ || !around_.launcher.is_running(record_.process)) {
    return fail(ErrorCode::unavailable, "process " + std::to_string(record_.process.pid) + " is gone");
  }
  process_watch_ = around_.loop.watch(pidfd_.get(), {.readable = true}, [this](net::Readiness) {
    process_watch_.cancel();
    on_process_ended();
  });
  TRY_VOID(supervisor_.connect());
  for (const auto& worker : workers_) TRY_VOID(worker->connect());
  return {};
}

bool ReplicaBody::all_greeted() const {
  if (!supervisor_.greeted()) return false;
  for (const auto& worker : workers_) {
    if (!worker->greeted()) return false;
  }
  return true;
}

void ReplicaBody::on_supervisor_lost() {
  if (ended_) return;
  reconnect_ = around_.loop.call_after(kReconnectInterval, [this] {
    if (ended_) return;
    if (const Result<> again = supervisor_.connect(); !again) on_supervisor_lost();
  });
}

void ReplicaBody::reconnect_worker(uint32_t index) {
  if (ended_) return;
  // The socket listens as long as the supervisor lives: the next worker, or the same one, accepts.
  if (const Result<> again = workers_[index]->connect(); again) return;
  deaths_[index].patience = around_.loop.call_after(kReconnectInterval, [this, index] { reconnect_worker(index); });
}

void ReplicaBody::on_worker_lost(uint32_t index) {
  Death& death = deaths_[index];
  death.connection_lost = true;
  owner_.on_worker_lost(index);
  reconnect_worker(index);
  if (death.exit_known && !ended_) judge_worker(index);
  // Else the supervisor's news or another HELLO decides.
}

void ReplicaBody::on_worker_exited(const WorkerExit& exit) {
  if (exit.index >= workers_.size()) return;
  Death& death = deaths_[exit.index];
  death.exit = exit;
  death.exit_known = true;
  if (!workers_[exit.index]->greeted()) {  // it never spoke to us: nothing of it can be on its way
    death.judged = false;
    return judge_worker(exit.index);
  }
  if (death.connection_lost) return judge_worker(exit.index);
  // Its last results may still be in the socket: the end of the stream comes after them. A child of the worker may
  // hold the stream open.
  const uint32_t index = exit.index;
  death.patience = around_.loop.call_after(kDeathPatience, [this, index] {
    workers_[index]->close();
    on_worker_lost(index);
  });
}

void ReplicaBody::judge_worker(uint32_t index) {
  Death& death = deaths_[index];
  if (death.judged || ended_) return;
  death.judged = true;
  death.patience.cancel();
  WorkerDeath verdict{.index = index,
                      .end = {.code = death.exit.code, .signal = death.exit.signal, .known = death.exit_known},
                      .stays_down = death.exit_known && !death.exit.forked_again,
                      .running = death.exit.running};
  if (verdict.end.signal != SIGKILL) return owner_.on_worker_died(verdict);
  around_.pool.run_then(
      [&launcher = around_.launcher, process = record_.process] { return launcher.oom_kills(process); },
      [this, alive = alive_, verdict = std::move(verdict)](uint64_t kills) mutable {
        if (!*alive || ended_) return;
        verdict.end.out_of_memory = kills > oom_kills_;
        oom_kills_ = std::max(kills, oom_kills_);
        owner_.on_worker_died(verdict);
      });
}

void ReplicaBody::on_process_ended() {
  around_.pool.run_then(
      [&launcher = around_.launcher, id = record_.id, process = record_.process, before = oom_kills_] {
        ProcessEnd end = launcher.how_it_ended(id, process).value_or(ProcessEnd{.signal = SIGKILL, .known = false});
        end.out_of_memory = end.signal == SIGKILL && launcher.oom_kills(process) > before;
        return end;
      },
      [this, alive = alive_](const ProcessEnd& end) {
        if (!*alive) return;
        // What its workers sent last is read before their connections end; then the verdict.
        end_patience_ = around_.loop.call_after(milliseconds(20), [this, end] { finish(end); });
      });
}

void ReplicaBody::finish(const ProcessEnd& end) {
  ended_ = true;
  supervisor_.close();
  for (const auto& worker : workers_) worker->close();
  owner_.on_body_died(end);
}

}  // namespace hearth::node
