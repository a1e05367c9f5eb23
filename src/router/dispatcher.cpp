#include "router/dispatcher.hpp"

#include "base/log.hpp"
#include "base/quantity.hpp"

#include <algorithm>
#include <utility>

namespace hearth::router {
namespace {

constexpr Duration kHold = milliseconds(20);    // after a node said "not now"
constexpr size_t kOutputMax = size_t{1} << 20;  // of what the rows of a batch printed; the runner bounds each row's
constexpr Duration kShedEvery = milliseconds(100);

uint32_t deadline_ms(const Deadline& deadline, MonoTime now) {
  const auto left = deadline.left(now);
  if (!left) return 0;
  return static_cast<uint32_t>(std::clamp<int64_t>(std::chrono::ceil<milliseconds>(*left).count(), 1, UINT32_MAX));
}

Answer not_running(const policy::StartGate& gate, std::string_view reason, MonoTime now) {
  return refusal(503, reason, gate.retry_after(now));
}

Answer overloaded(Duration wait, seconds retry_after) {
  return refusal(429,
                 "too many requests wait for this model; its queue drains in about " +
                     format_duration(std::chrono::ceil<milliseconds>(wait)),
                 retry_after);
}

}  // namespace

Dispatcher::Dispatcher(net::EventLoop& loop, const Config& config, MetricRegistry& metrics, Finished finished)
    : loop_(loop), config_(config), metrics_(metrics), finished_(std::move(finished)) {
  node_ = std::make_unique<NodeLink>(loop, config.nodes.empty() ? "" : config.nodes.front(), *this);
}

Dispatcher::~Dispatcher() = default;

void Dispatcher::start() {
  node_->start();
  link_down();
}

void Dispatcher::stop() {
  node_->stop();
  deadline_timer_.cancel();
  away_timer_.cancel();
  held_timer_.cancel();
}

VersionTarget& Dispatcher::target_of(const std::shared_ptr<const catalog::VersionRecord>& record) {
  std::unique_ptr<VersionTarget>& target = targets_[{record->branch, record->version}];
  if (!target) {
    target = std::make_unique<VersionTarget>(next_handle_++, record, metrics_);
    by_handle_.emplace(target->handle, target.get());
  }
  return *target;
}

void Dispatcher::forget_removed(const catalog::Snapshot& snapshot) {
  std::erase_if(targets_, [&snapshot, this](const auto& entry) {
    const catalog::BranchState* branch = snapshot.find_branch(entry.first.first);
    if (branch != nullptr && branch->versions.contains(entry.first.second)) return false;
    const bool unused = entry.second->is_idle() && !entry.second->wants_pump;
    if (unused) by_handle_.erase(entry.second->handle);
    return unused;
  });
}

void Dispatcher::warm(VersionTarget& target) {
  if (target.gate.arrive({}, loop_.now()).start == policy::StartNode::yes) ask_to_start(target);
}

void Dispatcher::ask_to_start(VersionTarget& target) {
  target.metrics.cold_starts.add();
  node_->open(target.handle, target.open_json(policy::StartNode::yes));
  node_->flush();
}

bool Dispatcher::node_expected() const {
  return node_->is_up() || loop_.now() - node_->down_since() < config_.node_return;
}

PendingRequest* Dispatcher::find(uint64_t request) {
  const auto found = requests_.find(request);
  return found == requests_.end() ? nullptr : found->second.get();
}

void Dispatcher::submit(std::unique_ptr<PendingRequest> owned) {
  PendingRequest& request = *owned;
  request.id = next_request_++;
  request.rows.resize(request.body.rows.size());
  VersionTarget& target = *request.target;
  const MonoTime now = mono_now();
  requests_.emplace(request.id, std::move(owned));
  deadlines_.add(request.id, request.deadline);
  request.exchange->on_disconnect([this, id = request.id] { abandon(id); });

  const auto refuse = [this, &request](Answer answer) { finish(request, &answer); };
  if (request.rows.empty()) return complete(request, {});  // an empty batch
  if (!node_expected()) return refuse(refusal(503, "no node is connected to this router", seconds(1)));
  // While the node is away nothing is known of its replicas: wait, and ask when it is back.
  const policy::GateVerdict verdict =
      node_->is_up() ? target.gate.arrive(request.deadline, now) : policy::GateVerdict{};
  if (verdict.start == policy::StartNode::yes) ask_to_start(target);
  if (verdict.kind == policy::GateVerdict::Kind::refuse) {
    return refuse(refusal(503, verdict.reason, verdict.retry_after));
  }
  const policy::QueuedRequest queued{.request = request.id,
                                     .key = request.fairness_key,
                                     .rows = static_cast<uint32_t>(request.rows.size()),
                                     .bytes = request.http.body.size(),
                                     .deadline = request.deadline};
  if (const auto refused = target.queue.offer(queued, now)) {
    if (refused->reason == policy::Refusal::Reason::deadline_passed) return deadline_passed(request);
    return refuse(overloaded(refused->expected_wait, refused->retry_after));
  }
  arm_deadlines();
  pump_later(target);
}

void Dispatcher::abandon(uint64_t id) {
  if (PendingRequest* request = find(id)) finish(*request, nullptr);
}

void Dispatcher::pump_later(VersionTarget& target) {
  if (!std::exchange(target.wants_pump, true)) wants_pump_.push_back(&target);
  if (std::exchange(pump_scheduled_, true)) return;
  loop_.defer([this] { pump(); });
}

void Dispatcher::pump() {
  pump_scheduled_ = false;
  std::vector<VersionTarget*> targets = std::exchange(wants_pump_, {});
  for (VersionTarget* target : targets) {
    target->wants_pump = false;
    pump(*target);
  }
  node_->flush();
  if (wants_pump_.capacity() == 0) {
    targets.clear();
    if (wants_pump_.empty()) wants_pump_ = std::move(targets);  // keep its memory
  }
}

void Dispatcher::pump(VersionTarget& target) {
  if (!node_->is_up() || !target.gate.open()) return;
  const MonoTime now = mono_now();
  if (target.held_until > now) {
    if (!held_timer_.is_set()) {
      held_timer_ = loop_.call_at(target.held_until, [this] {
        held_timer_ = {};
        for (const auto& [key, held] : targets_) {
          if (held->queue.queued_rows() > 0) pump_later(*held);
        }
      });
    }
    return;
  }
  while (const auto row = target.queue.take(now, passed_)) send_row(target, *row);
  for (const uint64_t id : std::exchange(passed_, {})) {
    if (PendingRequest* request = find(id)) deadline_passed(*request);
  }
  shed(target, now);
}

/// Requests that were let in when the model seemed faster, and cannot even begin in time now.
void Dispatcher::shed(VersionTarget& target, MonoTime now) {
  if (target.queue.queued_rows() == 0 || now - target.shed_at < kShedEvery) return;
  target.shed_at = now;
  for (const uint64_t id : target.queue.hopeless(now)) {
    Answer answer = overloaded(target.queue.expected_drain(), target.queue.retry_after());
    if (PendingRequest* request = find(id)) finish(*request, &answer);
  }
}

void Dispatcher::send_row(VersionTarget& target, policy::DispatchRow row) {
  PendingRequest& request = *requests_.at(row.request);
  const uint64_t wire_id = node_->next_id();
  const MonoTime now = mono_now();
  if (request.measured.first_sent == MonoTime{}) request.measured.first_sent = now;
  const wire::RequestEntry entry{
      .id = wire_id, .target = target.handle, .deadline_ms = deadline_ms(request.deadline, now)};
  if (!node_->send(entry, request.body.rows[row.row].arguments)) {
    target.queue.release();
    Answer answer = refusal(413, "a row is too large to be sent to the model");
    return finish(request, &answer);
  }
  request.rows[row.row].wire_id = wire_id;
  in_flight_.emplace(wire_id, InFlight{.request = &request, .target = &target, .row = row.row, .sent = now});
}

void Dispatcher::result_arrived(const wire::ResultView& result) {
  const auto found = in_flight_.find(result.id);
  if (found == in_flight_.end()) return;
  const InFlight flight = found->second;
  in_flight_.erase(found);
  VersionTarget& target = *flight.target;
  if (target.queue.queued_rows() > 0) pump_later(target);
  if (flight.request != nullptr) flight.request->rows[flight.row].wire_id = 0;
  switch (result.status) {
    case wire::Status::overloaded:
    case wire::Status::not_ready:
    case wire::Status::unknown:
      if (give_row_back(flight, result)) return;
      break;
    case wire::Status::ok:
      target.gate.served();
      [[fallthrough]];
    case wire::Status::raised:
    case wire::Status::unsendable:
      target.queue.settle(mono_now() - flight.sent);
      break;
    default:
      target.queue.release();
  }
  if (flight.request != nullptr) take_row(*flight.request, flight.row, result);
}

/// A row the model never saw goes back to the front of the queue. False: not any more, the result stands.
bool Dispatcher::give_row_back(InFlight flight, const wire::ResultView& result) {
  VersionTarget& target = *flight.target;
  PendingRequest* request = flight.request;
  if (request == nullptr || request->tries_left-- <= 0) {
    target.queue.release();
    return request == nullptr;
  }
  target.queue.put_back({.request = request->id, .row = flight.row});
  if (result.status != wire::Status::unknown) target.held_until = mono_now() + kHold;
  pump_later(target);
  restart_if_wanted(target);
  return true;
}

void Dispatcher::take_row(PendingRequest& request, uint32_t index, const wire::ResultView& result) {
  PendingRow& row = request.rows[index];
  row.status = result.status;
  row.answered = true;
  ++request.answered_rows;
  if (result.status != wire::Status::ok) ++request.failed_rows;
  if (request.is_batch()) row.value = result.value;
  Measured& measured = request.measured;
  measured.wait_us = std::max<uint64_t>(measured.wait_us, result.wait_us);
  measured.run_us += result.run_us;
  measured.cpu_us += result.cpu_us;
  measured.rss_kib = std::max(measured.rss_kib, result.rss_kib);
  if (request.stdout_text.size() < kOutputMax) request.stdout_text += result.stdout_text;
  if (request.stderr_text.size() < kOutputMax) request.stderr_text += result.stderr_text;
  if (request.answered_rows == request.rows.size()) complete(request, result.value);
}

void Dispatcher::complete(PendingRequest& request, std::string_view single_value) {
  Answer answer = compose_answer(request, single_value, mono_now());
  if (answer.status == 429 || answer.status == 503) answer.retry_after = request.target->gate.retry_after(loop_.now());
  finish(request, &answer);
}

void Dispatcher::finish(PendingRequest& request, Answer* answer) {
  deadlines_.remove(request.id, request.deadline);
  request.target->queue.forget(request.id);
  for (PendingRow& row : request.rows) {
    if (row.wire_id == 0) continue;
    in_flight_[row.wire_id].request = nullptr;  // its credit comes back with its result
    node_->cancel(row.wire_id);
    row.wire_id = 0;
    pump_later(*request.target);  // sends the cancel
  }
  const auto found = requests_.find(request.id);
  const std::unique_ptr<PendingRequest> owned = std::move(found->second);
  requests_.erase(found);
  finished_(*owned, answer);
}

void Dispatcher::arm_deadlines() {
  const auto earliest = deadlines_.earliest();
  if (!earliest || *earliest >= deadline_armed_) return;
  deadline_armed_ = *earliest;
  deadline_timer_ = loop_.call_at(*earliest, [this] { deadlines_passed(); });
}

void Dispatcher::deadlines_passed() {
  deadline_armed_ = MonoTime::max();
  for (const uint64_t id : deadlines_.take_passed(mono_now())) {
    if (PendingRequest* request = find(id)) deadline_passed(*request);
  }
  arm_deadlines();
}

void Dispatcher::deadline_passed(PendingRequest& request) {
  const policy::StartGate& gate = request.target->gate;
  const MonoTime now = loop_.now();
  const bool sent = request.measured.first_sent != MonoTime{};
  const std::string limit =
      format_duration(std::chrono::duration_cast<milliseconds>(*request.deadline.at() - request.arrived));
  Answer answer;
  if (!node_->is_up()) {
    answer = refusal(503, "no node is connected to this router", seconds(1));
  } else if (!sent && !gate.open()) {
    answer = not_running(gate, "the model is " + gate.waiting_reason(now) + "; it was not ready within " + limit, now);
  } else {
    answer = refusal(
        408, std::string(sent ? "the model did not answer within " : "the request waited for a free worker for ") +
                 limit + (sent ? "" : ", its time limit"));
  }
  finish(request, &answer);
}

/// The requests nothing of which runs end now; the others wait for the results of what runs.
void Dispatcher::fail_waiting(VersionTarget& target, const Answer& answer) {
  std::vector<PendingRequest*> waiting;
  for (const auto& [id, request] : requests_) {
    if (request->target != &target) continue;
    const bool runs = std::ranges::any_of(request->rows, [](const PendingRow& row) { return row.wire_id != 0; });
    const bool queued =
        std::ranges::any_of(request->rows, [](const PendingRow& row) { return row.wire_id == 0 && !row.answered; });
    if (queued || !runs) waiting.push_back(request.get());
  }
  for (PendingRequest* request : waiting) {
    Answer copy = answer;
    finish(*request, &copy);
  }
}

void Dispatcher::restart_if_wanted(VersionTarget& target) {
  if (target.gate.open() || target.queue.queued_rows() == 0 || !node_->is_up()) return;
  const policy::GateVerdict verdict = target.gate.arrive({}, loop_.now());
  if (verdict.start == policy::StartNode::yes) ask_to_start(target);
  if (verdict.kind == policy::GateVerdict::Kind::refuse) {
    fail_waiting(target, refusal(503, verdict.reason, verdict.retry_after));
  }
}

void Dispatcher::target_reported(uint32_t handle, const policy::TargetReport& report) {
  const auto found = by_handle_.find(handle);
  if (found == by_handle_.end()) return;
  VersionTarget& target = *found->second;
  switch (target.gate.report(report, loop_.now())) {
    case policy::GateChange::none:
      break;
    case policy::GateChange::opened:
      pump_later(target);
      break;
    case policy::GateChange::closed:
      restart_if_wanted(target);
      break;
    case policy::GateChange::failed:
      fail_waiting(target, not_running(target.gate, target.gate.reason(), loop_.now()));
  }
}

void Dispatcher::credits_given(uint32_t handle, uint32_t limit) {
  const auto found = by_handle_.find(handle);
  if (found == by_handle_.end()) return;
  found->second->queue.set_limit(limit);
  if (limit > 0) pump_later(*found->second);
}

void Dispatcher::link_up() {
  away_timer_.cancel();
  for (const auto& [key, target] : targets_) {
    target->queue.set_limit(0);
    const auto wanted = target->is_idle() ? policy::StartNode::no : policy::StartNode::yes;
    if (wanted == policy::StartNode::yes) target->gate.arrive({}, loop_.now());
    node_->open(target->handle, target->open_json(wanted));
  }
}

void Dispatcher::link_down() {
  for (const auto& [key, target] : targets_) {
    target->gate.forget_state();
    target->queue.set_limit(0);
  }
  away_timer_ = loop_.call_after(config_.node_return, [this] { node_stays_away(); });
}

std::vector<uint64_t> Dispatcher::ids_in_flight() {
  std::vector<uint64_t> ids;
  ids.reserve(in_flight_.size());
  for (const auto& [id, flight] : in_flight_) ids.push_back(id);
  return ids;
}

std::vector<uint64_t> Dispatcher::ids_given_up() {
  std::vector<uint64_t> ids;
  for (const auto& [id, flight] : in_flight_) {
    if (flight.request == nullptr) ids.push_back(id);
  }
  return ids;
}

void Dispatcher::node_stays_away() {
  if (node_->is_up()) return;
  std::vector<PendingRequest*> all;
  all.reserve(requests_.size());
  for (const auto& [id, request] : requests_) all.push_back(request.get());
  for (PendingRequest* request : all) {
    Answer answer = refusal(503,
                            "the node went away and did not come back within " +
                                format_duration(std::chrono::duration_cast<milliseconds>(config_.node_return)),
                            seconds(1));
    finish(*request, &answer);
  }
}

void Dispatcher::update_gauges() {
  for (const auto& [key, target] : targets_) {
    target->metrics.queued_rows.set(static_cast<int64_t>(target->queue.queued_rows()));
    target->metrics.outstanding_rows.set(target->queue.outstanding());
  }
}

}  // namespace hearth::router
