#include "node/replica.hpp"

#include "base/log.hpp"
#include "node/json_fields.hpp"
#include "node/router_session.hpp"

#include <algorithm>
#include <utility>

namespace hearth::node {

using policy::ReplicaState;
namespace lifecycle = policy::lifecycle;

namespace {

constexpr milliseconds kKillAfter{2000};
constexpr uint64_t kQueueMax = 65536;  // routers stay far below it by their credits

uint32_t to_us(Duration duration) {
  const auto us = std::chrono::duration_cast<microseconds>(duration).count();
  return static_cast<uint32_t>(std::clamp<int64_t>(us, 0, UINT32_MAX));
}

}  // namespace

void NodeContext::flush_sessions() {
  for (RouterSession* session : unflushed) session->flush();
  unflushed.clear();
}

Replica::Replica(NodeContext& node, ReplicaKey key) : node_(node), key_(std::move(key)) {}

Replica::~Replica() = default;

// --- the state machine ---

void Replica::step(const lifecycle::Event& event) {
  const ReplicaState before = life_.state();
  const policy::ReplicaLifecycle::Actions actions = life_.step(event, node_.loop.now());
  if (life_.state() != before) {
    log_info("replica", {{"version", to_string(key_)},
                         {"from", policy::to_string(before)},
                         {"to", policy::to_string(life_.state())},
                         {"reason", life_.reason()}});
  }
  for (const lifecycle::Action& action : actions) act(action);
  arm_timer();
}

void Replica::act(const lifecycle::Action& action) {
  switch (action.kind) {
    case lifecycle::ActionKind::start:
      return begin_start();
    case lifecycle::ActionKind::pause:
      return set_frozen(true);
    case lifecycle::ActionKind::thaw:
      return set_frozen(false);
    case lifecycle::ActionKind::stop:
      return begin_stop(action.reason);
    case lifecycle::ActionKind::fail_waiters:
      fail_queued(action.reason);
      return node_.announce(*this);
    case lifecycle::ActionKind::announce:
      return node_.announce(*this);
  }
}

void Replica::arm_timer() {
  const std::optional<MonoTime> at = life_.next_wakeup(node_.loop.now());
  if (!at) return timer_.cancel();
  timer_ = node_.loop.call_at(*at, [this] { step(lifecycle::Tick{}); });
}

void Replica::note_load() {
  const uint64_t outstanding = queued_ + in_flight_;
  if ((outstanding > 0) == load_told_) return;
  load_told_ = outstanding > 0;
  step(lifecycle::Load{outstanding});
}

void Replica::want() {
  step(lifecycle::Wanted{});
}

// --- requests ---

void Replica::accept(PendingRequest& request) {
  request.replica = this;
  if (queued_ >= kQueueMax) return answer(request, wire::Status::overloaded, "the node's queue is full");
  request.stage = RequestStage::queued;
  queue_.push_back(request.id);
  ++queued_;
  ++borrowed_;
}

void Replica::own_payloads() {
  const size_t count = std::min(borrowed_, queue_.size());
  borrowed_ = 0;
  for (size_t i = queue_.size() - count; i < queue_.size(); ++i) {
    PendingRequest* request = node_.requests.find(queue_[i]);
    if (request == nullptr || request->stage != RequestStage::queued) continue;
    if (request->borrowed.data() == request->payload.data()) continue;
    request->payload.assign(request->borrowed);
    request->borrowed = request->payload;
  }
}

void Replica::dispatch() {
  if (queued_ > 0 && life_.state() != ReplicaState::ready) {
    // Waits for a start, or learns at once why there will be none.
    if (!load_told_) {
      note_load();
    } else {
      step(lifecycle::Wanted{});
    }
  }
  note_load();
  if (!dispatch_ || body_ == nullptr) return;
  while (queued_ > 0) {
    const auto assignment = dispatch_->next(queued_);
    if (!assignment) break;
    uint32_t sent = 0;
    while (sent < assignment->count && !queue_.empty()) {
      PendingRequest* request = node_.requests.find(queue_.front());
      queue_.pop_front();
      if (request == nullptr || request->replica != this || request->stage != RequestStage::queued) continue;
      --queued_;
      send(*request, assignment->index);
      ++sent;
    }
    if (queue_.empty()) queued_ = 0;
  }
  for (uint32_t i = 0; i < body_->slots(); ++i) body_->worker(i).flush();
}

void Replica::send(PendingRequest& request, uint32_t index) {
  const MonoTime now = node_.loop.now();
  uint32_t deadline_ms = 0;
  if (const auto left = request.deadline.left(now)) {
    deadline_ms =
        static_cast<uint32_t>(std::clamp<int64_t>(std::chrono::ceil<milliseconds>(*left).count(), 1, UINT32_MAX));
  }
  const wire::Added added = body_->worker(index).send({.id = request.id, .deadline_ms = deadline_ms}, request.borrowed);
  if (added == wire::Added::full) {
    ++queued_;  // answer() counts it down
    return answer(request, wire::Status::malformed, "the row is larger than a worker takes");
  }
  request.stage = RequestStage::sent;
  request.worker = index;
  request.sent_order = ++sent_;
  request.waited_us = to_us(now - request.received);
  request.borrowed = {};
  dispatch_->sent(index, 1);
  ++in_flight_;
}

/// The request is over: counts go down, the entry is gone.
void Replica::finish_request(PendingRequest& request) {
  if (request.stage == RequestStage::queued && queued_ > 0) --queued_;
  if (request.stage == RequestStage::sent && in_flight_ > 0) --in_flight_;
  node_.requests.erase(request.id);
}

void Replica::answer(PendingRequest& request, wire::Status status, std::string_view message) {
  RouterSession* session = request.session;
  const uint64_t id = request.id;
  finish_request(request);
  if (session != nullptr) session->deliver_failure(id, status, message);
}

void Replica::on_worker_result(uint32_t index, const wire::ResultView& result, ResultOrigin origin) {
  PendingRequest* request = node_.requests.find(result.id);
  // A worker answers only what it was given: it runs foreign code, and ids of others can be guessed.
  const bool ours = request != nullptr && request->replica == this && request->stage == RequestStage::sent &&
                    request->worker == index;
  if (!ours) return node_.unexpected_result(*this, index, result, std::move(origin));
  if (dispatch_->outstanding(index) > 0) {
    const bool joint = version_->config.mode != catalog::CallMode::row;
    dispatch_->done(index, microseconds(result.run_us) * (joint ? result.batch : 1), result.batch);
  }
  if (result.status == wire::Status::ok && life_.failures_in_a_row() > 0) step(lifecycle::Finished{});
  wire::ResultEntry entry = result;
  entry.wait_us += request->waited_us;
  std::string replaced;
  wire::ResultPayload payload{result.value, result.stdout_text, result.stderr_text};
  if (result.status == wire::Status::cancelled && request->given_up == GivenUp::deadline) {
    entry.status = wire::Status::deadline;
    replaced = error_json("the deadline passed while it ran");
    payload.value = replaced;
  }
  RouterSession* session = request->session;
  finish_request(*request);
  if (session == nullptr) return origin.settle();
  session->deliver(entry, payload, std::move(origin));
  if (!replaced.empty()) return session->flush();
  node_.unflushed.insert(session);
}

void Replica::on_worker_input_end(uint32_t) {
  node_.flush_sessions();
  if (queued_ > 0) {
    dispatch();
  } else {
    note_load();
  }
  announce_credits();
}

void Replica::announce_credits() {
  const uint32_t before = std::exchange(announced_credits_, credits());
  if (announced_credits_ == before) return;
  // From nothing or to nothing is a change of state as well; between two depths it is nobody's business but the
  // routers'.
  const bool state_changed = before == 0 || announced_credits_ == 0;
  state_changed ? node_.announce(*this) : node_.give_credits(*this);
}

uint32_t Replica::credits() const {
  const bool serving = life_.state() == ReplicaState::ready || life_.state() == ReplicaState::paused;
  return serving && dispatch_ ? dispatch_->credits() : 0;
}

void Replica::give_up(PendingRequest& request, GivenUp why) {
  if (request.given_up != GivenUp::no) return;
  request.given_up = why;
  request.given_up_at = node_.loop.now();
  if (request.stage == RequestStage::queued) {
    const bool late = why == GivenUp::deadline;
    answer(request, late ? wire::Status::deadline : wire::Status::cancelled,
           late ? "the deadline passed before a worker was free" : "cancelled before it ran");
    return note_load();
  }
  if (body_ != nullptr) body_->worker(request.worker).cancel(request.id);
}

void Replica::interrupt(PendingRequest& request) {
  request.interrupted = true;
  if (body_ != nullptr) body_->supervisor().interrupt(request.worker, request.id, kKillAfter);
}

void Replica::stuck(const PendingRequest& request) {
  may_drain_ = false;
  step(lifecycle::Stuck{"worker " + std::to_string(request.worker) + " neither ends its request nor dies"});
}

void Replica::fail_queued(const std::string& reason) {
  std::deque<uint64_t> ids = std::exchange(queue_, {});
  borrowed_ = 0;
  for (const uint64_t id : ids) {
    PendingRequest* request = node_.requests.find(id);
    if (request == nullptr || request->replica != this || request->stage != RequestStage::queued) continue;
    answer(*request, wire::Status::not_ready, reason);
  }
  queued_ = 0;
  note_load();
}

std::vector<uint64_t> Replica::in_flight_at(std::optional<uint32_t> index) {
  std::vector<uint64_t> ids;
  node_.requests.for_each([this, index, &ids](const PendingRequest& request) {
    if (request.replica != this || request.stage != RequestStage::sent) return;
    if (!index || request.worker == *index) ids.push_back(request.id);
  });
  return ids;
}

/// A worker runs in the order it was sent: what came after the call it died in was never begun. Routers send that
/// again.
void Replica::give_back_never_begun(std::vector<uint64_t>& ids, const std::vector<uint64_t>& running) {
  uint64_t last_begun = 0;
  for (const uint64_t id : running) {
    const PendingRequest* request = node_.requests.find(id);
    if (request != nullptr && request->replica == this) last_begun = std::max(last_begun, request->sent_order);
  }
  if (last_begun == 0) return;  // not known where it was: all of them may have run
  std::erase_if(ids, [this, last_begun](uint64_t id) {
    PendingRequest* request = node_.requests.find(id);
    if (request == nullptr || request->replica != this || request->sent_order <= last_begun) return false;
    answer(*request, wire::Status::unknown, "its worker died before it was begun");
    return true;
  });
}

void Replica::fail_lost(const std::vector<uint64_t>& ids, const ProcessEnd& end, const std::string& message) {
  nlohmann::json how = nlohmann::json::object();
  if (end.signal != 0) how["signal"] = end.signal;
  if (end.signal == 0 && end.known) how["code"] = end.code;
  how["oom"] = end.out_of_memory;
  const std::string value = to_text({{"error", message}, {"exit", how}});
  for (const uint64_t id : ids) {
    PendingRequest* request = node_.requests.find(id);
    if (request == nullptr || request->replica != this || request->stage != RequestStage::sent) continue;
    if (request->interrupted) {  // killed because of this one
      const bool late = request->given_up == GivenUp::deadline;
      answer(*request, late ? wire::Status::deadline : wire::Status::cancelled,
             late ? "the deadline passed while it ran; its worker was killed" : "cancelled; its worker was killed");
      continue;
    }
    RouterSession* session = request->session;
    wire::ResultEntry entry{.id = id, .status = wire::Status::worker_died, .batch = 0, .wait_us = request->waited_us};
    finish_request(*request);
    if (session == nullptr) continue;
    session->deliver(entry, {.value = value}, {});
    session->flush();
  }
}

void Replica::flush_acks() {
  for (uint32_t i = 0; body_ != nullptr && i < body_->slots(); ++i) body_->worker(i).flush_ack();
}

std::string_view Replica::wire_state() const {
  switch (life_.state()) {
    case ReplicaState::fetching:
      return "fetching";
    case ReplicaState::starting:
      return "starting";
    case ReplicaState::ready:
      return dispatch_ && dispatch_->ready_workers() > 0 ? "ready" : "loading";
    case ReplicaState::paused:
      return "paused";
    case ReplicaState::loading:
    case ReplicaState::stalled:
    case ReplicaState::unknown:
      return "loading";
    case ReplicaState::crash_loop:
      return "failed";
    case ReplicaState::stopped:
    case ReplicaState::draining:
      if (life_.will_start_again()) return "starting";
      return life_.has_failed() ? "failed" : "absent";
    case ReplicaState::absent:
      return "absent";
  }
  return "absent";
}

std::string Replica::wire_reason() const {
  if (life_.state() == ReplicaState::ready && dispatch_ && dispatch_->ready_workers() == 0) {
    return "its ready function keeps requests away";
  }
  return life_.reason();
}

}  // namespace hearth::node
