// Replica: from wanted to ready, what workers say on the way, and adoption of what an earlier node process started.
#include "base/log.hpp"
#include "node/replica.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>

namespace hearth::node {

using policy::ReplicaState;
namespace lifecycle = policy::lifecycle;

namespace {
constexpr seconds kFirstCallsTime(5);     // after which the first calls have read what they read
constexpr milliseconds kKillAfter{2000};  // after an interrupt that did not help
}  // namespace

void Replica::begin_start() {
  ++life_number_;
  start_ms_.clear();
  saw_ready_ = false;
  adopted_ = false;
  start_began_ = node_.loop.now();
  node_.permits.acquire([weak = weak_from_this(), life = life_number_, asked = start_began_](auto permit) {
    const std::shared_ptr<Replica> self = weak.lock();
    if (self && self->life_number_ == life) self->launch(std::move(permit), asked);
  });
}

std::optional<MonoTime> Replica::start_began() const {
  if (adopted_ || life_number_ == 0) return std::nullopt;
  return start_began_;
}

void Replica::launch(StartPermits::Permit permit, MonoTime asked) {
  if (life_.state() != ReplicaState::fetching) {  // stopped while it waited
    return step(lifecycle::Stopped{});
  }
  start_ms_["queue"] = std::chrono::duration<double, std::milli>(node_.loop.now() - asked).count();
  launching_ = true;
  StartOrder order{
      .key = key_,
      .run_dir = node_.run_dir,
      .data_dir = node_.data_dir,
      .version = version_,
      .versions = node_.versions,
      .launcher = &node_.launcher,
      .max_batch = node_.max_batch,
      .on_reached = [&loop = node_.loop, weak = weak_from_this(), life = life_number_](ReplicaState state) {
        loop.post([weak, life, state] {
          const std::shared_ptr<Replica> self = weak.lock();
          if (self && self->life_number_ == life) self->step(lifecycle::Reached{state});
        });
      }};
  auto done = [weak = weak_from_this(), permit = std::move(permit),
               &launcher = node_.launcher](Result<StartedReplica> started) mutable {
    permit.release();
    if (const std::shared_ptr<Replica> self = weak.lock()) return self->on_launched(std::move(started));
    if (started) static_cast<void>(launcher.destroy(started->record.id).has_value());  // the node goes down meanwhile
  };
  node_.pool.run_then([order = std::move(order)] { return start_replica(order); }, std::move(done));
}

void Replica::on_launched(Result<StartedReplica> started) {
  launching_ = false;
  if (!started) return start_failed(started.error().message);
  for (const auto& [phase, ms] : started->phases_ms) start_ms_[phase] = ms;
  use_version(started->version);
  make_body(std::move(started->record));
  if (!policy::has_process(life_.state()) || life_.state() == ReplicaState::draining) {
    return destroy_body(Ending::stopped, "given up");
  }
  step(lifecycle::Reached{ReplicaState::loading});
  if (const Result<> begun = body_->begin(); !begun) start_failed(begun.error().message);
}

void Replica::use_version(const catalog::VersionRecord& version) {
  version_ = version;
  slots_ = version.config.resources.slots;
  life_.set_limits({.idle = {.pause = version.config.timeouts.idle_pause, .stop = version.config.timeouts.idle_stop},
                    .start_timeout = version.config.timeouts.start});
  const bool row = version.config.mode == catalog::CallMode::row;
  dispatch_.emplace(policy::SlotDispatch::Limits{.mode = row ? policy::DispatchMode::row : policy::DispatchMode::batch,
                                                 .slots = slots_,
                                                 .max_batch = node_.max_batch});
}

void Replica::make_body(ReplicaRecord record) {
  std::filesystem::path directory = replica_directory(node_.run_dir, record.id);
  BodyOwner& owner = *this;  // a private base: make_unique may not see it
  body_ =
      std::make_unique<ReplicaBody>(ReplicaBody::Surroundings{node_.loop, node_.pool, node_.launcher, node_.greeting},
                                    std::move(record), std::move(directory), owner);
  want_frozen_ = is_frozen_ = false;
}

/// No worker has become ready and none will: remove what there is, then tell.
void Replica::start_failed(std::string reason) {
  log_warning("start failed", {{"version", to_string(key_)}, {"reason", reason}});
  if (body_ == nullptr) return step(lifecycle::StartFailed{std::move(reason)});
  destroy_body(Ending::start_failed, std::move(reason));
}

void Replica::on_worker_report(uint32_t index, const WorkerReport& report) {
  const bool takes_requests = report.state == WorkerState::ready;
  if (takes_requests) {
    dispatch_->worker_ready(index);
  } else if (report.state == WorkerState::unready) {
    dispatch_->worker_unready(index);
  }
  if (report.state == WorkerState::failed) {
    log_warning("worker failed to load",
                {{"version", to_string(key_)}, {"worker", index}, {"reason", report.error}, {"detail", report.detail}});
  }
  check_loaded();
  if (takes_requests) dispatch();
  announce_credits();
}

/// How many workers have loaded decides between loading, ready and a failed start.
void Replica::check_loaded() {
  if (body_ == nullptr || life_.state() == ReplicaState::draining) return;
  uint32_t loaded = 0;
  uint32_t failed = 0;
  const WorkerReport* failure = nullptr;
  for (uint32_t i = 0; i < body_->slots(); ++i) {
    const WorkerReport& report = body_->worker(i).report();
    if (report.state == WorkerState::ready || (report.state == WorkerState::unready && saw_ready_)) ++loaded;
    if (report.state == WorkerState::failed) {
      ++failed;
      failure = &report;
    }
  }
  if (loaded > 0 && !saw_ready_) on_ready();
  if (life_.state() == ReplicaState::loading || life_.state() == ReplicaState::ready) step(lifecycle::Workers{loaded});
  // The others would fail for the same reason.
  if (loaded == 0 && failed > 0) start_failed(failure->error);
}

void Replica::on_ready() {
  saw_ready_ = true;
  const WorkerReport* first = nullptr;
  for (uint32_t i = 0; i < body_->slots() && first == nullptr; ++i) {
    if (body_->worker(i).report().state == WorkerState::ready) first = &body_->worker(i).report();
  }
  if (first == nullptr || adopted_) return;
  start_ms_["import"] = first->import_ms;
  start_ms_["setup"] = first->setup_ms;
  const double total = std::chrono::duration<double, std::milli>(mono_now() - start_began_).count();
  const double known = std::accumulate(start_ms_.begin(), start_ms_.end(), 0.0,
                                       [](double sum, const auto& phase) { return sum + phase.second; });
  start_ms_["runner"] = std::max(0.0, total - known);  // Python itself, the supervisor, the fork
  start_ms_["total"] = total;
  start_estimate_ = milliseconds(static_cast<int64_t>(total));
  std::string phases;
  for (const auto& [phase, ms] : start_ms_) phases += fmt::format("{}{}={:.1f}", phases.empty() ? "" : " ", phase, ms);
  log_info("replica started", {{"version", to_string(key_)}, {"replica", id()}, {"ms", phases}});
  start_over_timer_ = node_.loop.call_after(kFirstCallsTime, [this] {
    if (!version_) return;
    node_.pool.submit([&launcher = node_.launcher, version = *version_] { launcher.start_is_over(version); });
  });
  if (first->modules.empty()) return;
  node_.pool.submit([data_dir = node_.data_dir, key = key_, modules = first->modules] {
    write_preload_list(data_dir, key, modules);
  });
}

void Replica::on_worker_lost(uint32_t index) {
  std::vector<uint64_t>& lost = limbo_[index];
  for (const uint64_t request : in_flight_at(index)) {
    if (std::ranges::find(lost, request) == lost.end()) lost.push_back(request);
  }
  dispatch_->worker_gone(index);
  check_loaded();
  announce_credits();
}

void Replica::on_worker_back(uint32_t index) {
  const std::vector<uint64_t> ids = std::exchange(limbo_[index], {});
  body_->worker(index).attach(ids);
  dispatch_->adopt(index, static_cast<uint32_t>(ids.size()));
}

void Replica::on_worker_died(const WorkerDeath& death) {
  const std::string how = to_string(death.end);
  log_warning("worker died", {{"version", to_string(key_)}, {"worker", death.index}, {"how", how}});
  std::vector<uint64_t> lost = std::exchange(limbo_[death.index], {});
  give_back_never_begun(lost, death.running);
  fail_lost(lost, death.end, "the worker died: " + how);
  node_.worker_gone(*this, death.index);
  note_load();
  if (body_ == nullptr) return;
  const bool none_left = dispatch_->ready_workers() == 0;
  if (death.stays_down && none_left) return start_failed("the worker died while loading: " + how);
  step(lifecycle::WorkerDied{how});
}

// --- adoption ---

Result<> Replica::adopt(ReplicaRecord record, const catalog::VersionRecord& version) {
  ++life_number_;
  adopted_ = true;
  use_version(version);
  const bool paused = record.phase == RecordPhase::paused;
  make_body(std::move(record));
  want_frozen_ = is_frozen_ = paused;
  if (Result<> begun = body_->begin(); !begun) {
    body_.reset();
    return begun;
  }
  step(lifecycle::ContactLost{});  // unknown until it answers
  // A frozen one cannot answer; nothing was outstanding when it was frozen.
  if (paused) step(lifecycle::ContactMade{.frozen = true});
  for (uint32_t i = 0; i < body_->slots(); ++i) body_->worker(i).attach({});  // results nobody has seen yet
  return {};
}

/// A worker in the middle of a long call answers only after it: the supervisor's word is enough to know that it lives.
void Replica::on_supervisor_greeted() {
  if (life_.state() != ReplicaState::unknown) return;
  step(lifecycle::ContactMade{.frozen = false});
  check_loaded();
}

uint32_t Replica::ask_workers(const std::vector<uint64_t>& ids) {
  if (body_ == nullptr || !adopted_) return 0;
  for (uint32_t i = 0; i < body_->slots(); ++i) body_->worker(i).attach(ids);
  return body_->slots();
}

void Replica::cancel_everywhere(uint64_t id) {
  for (uint32_t i = 0; body_ != nullptr && i < body_->slots(); ++i) body_->worker(i).cancel(id);
}

void Replica::interrupt_everywhere(uint64_t id) {
  for (uint32_t i = 0; body_ != nullptr && i < body_->slots(); ++i) body_->supervisor().interrupt(i, id, kKillAfter);
}

}  // namespace hearth::node
