// Replica: pausing, stopping, and what follows a death.
#include "base/log.hpp"
#include "node/replica.hpp"

#include <utility>

namespace hearth::node {

using policy::ReplicaState;
namespace lifecycle = policy::lifecycle;

namespace {
constexpr Duration kDrainFor = seconds(10);     // what runs may finish
constexpr Duration kGracefulExit = seconds(2);  // then the runner may say goodbye
constexpr Duration kFreezeRetry = seconds(1);
}  // namespace

void Replica::begin_stop(const std::string& reason) {
  if (launching_) return;  // on_launched sees that nobody wants it any more
  if (body_ == nullptr) return step(lifecycle::Stopped{});
  if (!std::exchange(may_drain_, true)) return destroy_body(Ending::stopped, reason);
  stop_by_ = node_.loop.now() + kDrainFor;
  stop_when_quiet();
}

void Replica::stop_when_quiet() {
  if (body_ == nullptr) return;
  if (in_flight_ > 0 && node_.loop.now() < stop_by_) {
    stop_timer_ = node_.loop.call_after(milliseconds(20), [this] { stop_when_quiet(); });
    return;
  }
  if (is_frozen_ || want_frozen_) return destroy_body(Ending::stopped, "stopped");
  // The first process ends by itself, or is killed after kGracefulExit.
  body_->supervisor().stop();
  stop_timer_ = node_.loop.call_after(kGracefulExit, [this] { destroy_body(Ending::stopped, "stopped"); });
}

void Replica::on_body_died(const ProcessEnd& end) {
  destroy_body(Ending::died, "the replica died: " + to_string(end), end);
}

/// Ends this life: requests in flight fail, everything is removed, then the state machine hears of it.
void Replica::destroy_body(Ending ending, std::string reason, const ProcessEnd& end) {
  if (body_ == nullptr) return;
  stop_timer_.cancel();
  std::unique_ptr<ReplicaBody> body = std::move(body_);
  const std::string replica_id = body->record().id;
  if (life_.state() == ReplicaState::draining) ending = Ending::stopped;
  log_info("replica is gone", {{"version", to_string(key_)}, {"replica", replica_id}, {"reason", reason}});
  for (uint32_t i = 0; i < body->slots(); ++i) {
    body->worker(i).close();
    dispatch_->worker_gone(i);
    node_.worker_gone(*this, i);
  }
  body->supervisor().close();
  node_.loop.defer([dead = std::move(body)] {});  // it may be calling us
  limbo_.clear();
  fail_lost(in_flight_at(std::nullopt), end, reason);
  ++life_number_;
  node_.pool.run_then(
      [&launcher = node_.launcher, replica_id] { return launcher.destroy(replica_id); },
      [weak = weak_from_this(), reason, ending, replica_id, life = life_number_](const Result<>& destroyed) {
        if (!destroyed) {
          log_error("replica not removed", {{"replica", replica_id}, {"reason", destroyed.error().message}});
        }
        const std::shared_ptr<Replica> self = weak.lock();
        if (!self || self->life_number_ != life) return;
        self->note_load();
        switch (ending) {
          case Ending::stopped:
            self->step(lifecycle::Stopped{});
            break;
          case Ending::start_failed:
            self->step(lifecycle::StartFailed{reason});
            break;
          case Ending::died:
            self->step(lifecycle::Died{reason});
            break;
        }
        self->announce_credits();
      });
}

// --- freezing ---

void Replica::set_frozen(bool frozen) {
  want_frozen_ = frozen;
  run_freezer();
}

/// One freezer call at a time; the last wish wins. Requests may be written to a frozen worker: they wait in its socket.
void Replica::run_freezer() {
  if (freezer_busy_ || body_ == nullptr || want_frozen_ == is_frozen_) return;
  freezer_busy_ = true;
  const bool freeze = want_frozen_;
  auto work = [&launcher = node_.launcher, process = body_->record().process, record = body_->record(),
               directory = body_->directory(), freeze]() mutable -> Result<> {
    if (freeze) {
      TRY_VOID(launcher.freeze(process));
    } else {
      TRY_VOID(launcher.thaw(process));
    }
    record.phase = freeze ? RecordPhase::paused : RecordPhase::running;
    return write_replica_record(directory, record);
  };
  node_.pool.run_then(std::move(work), [weak = weak_from_this(), life = life_number_, freeze](const Result<>& done) {
    const std::shared_ptr<Replica> self = weak.lock();
    if (!self) return;
    self->freezer_busy_ = false;
    if (self->life_number_ != life) return self->run_freezer();
    if (done) {
      self->is_frozen_ = freeze;
      return self->run_freezer();
    }
    log_error(freeze ? "replica not frozen" : "replica not thawed",
              {{"replica", self->id()}, {"reason", done.error().message}});
    self->freezer_timer_ = self->node_.loop.call_after(kFreezeRetry, [weak] {
      if (const std::shared_ptr<Replica> again = weak.lock()) again->run_freezer();
    });
  });
}

void Replica::stop(std::string reason) {
  step(lifecycle::Stop{std::move(reason)});
}

}  // namespace hearth::node
