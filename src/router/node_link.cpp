#include "router/node_link.hpp"

#include "base/error_table.hpp"
#include "base/log.hpp"
#include "base/random_id.hpp"
#include "wire/frame.hpp"
#include "wire/hello.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <utility>

namespace hearth::router {
namespace {

using Json = nlohmann::json;

constexpr Duration kFirstRetry = milliseconds(20);
constexpr Duration kLongestRetry = milliseconds(500);
constexpr Duration kAckAfter = milliseconds(20);
constexpr int kCallTries = 3;

policy::TargetState target_state(std::string_view name) {
  using enum policy::TargetState;
  if (name == "ready") return ready;
  if (name == "absent") return absent;
  if (name == "fetching") return fetching;
  if (name == "starting") return starting;
  if (name == "loading") return loading;
  if (name == "paused") return paused;
  if (name == "failed") return failed;
  return unknown;
}

std::string text_of(const Json& json, const char* name) {
  const auto found = json.find(name);
  return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
}

/// The error of a call that failed: {"error", "code"?}.
Error call_error(const wire::ResultView& result) {
  const Json json = Json::parse(result.value, nullptr, false);
  Error error{ErrorCode::internal, json.is_object() ? text_of(json, "error") : ""};
  if (error.message.empty()) error.message = "the node answered " + std::string(wire::to_string(result.status));
  const std::string code = json.is_object() ? text_of(json, "code") : "";
  if (const auto known = error_code_from(code)) error.code = *known;
  return error;
}

}  // namespace

NodeLink::NodeLink(net::EventLoop& loop, std::filesystem::path socket, NodeListener& listener)
    : loop_(loop),
      socket_(std::move(socket)),
      listener_(listener),
      down_since_(loop.now()),
      generation_(random_id()),
      next_id_(random_u64() >> 1) {}

NodeLink::~NodeLink() {
  stop();
}

void NodeLink::start() {
  down_since_ = loop_.now();
  call_timer_ = loop_.call_every(seconds(1), [this] { expire_calls(); });
  connect();
}

void NodeLink::stop() {
  if (std::exchange(stopped_, true)) return;
  retry_.cancel();
  ack_timer_.cancel();
  call_timer_.cancel();
  if (channel_) {
    if (up_) {
      std::string bytes;
      if (last_result_ > acked_) wire::append_ack(bytes, last_result_);
      wire::append_goodbye(bytes, R"({"reason":"the router stops"})");
      channel_->write(std::move(bytes));
    }
    channel_->close();
  }
  up_ = false;
}

void NodeLink::connect() {
  if (socket_.empty()) return reconnect_later();  // no node is known yet
  auto channel = net::ByteChannel::connect_unix(loop_, socket_);
  if (!channel) {
    if (!std::exchange(complained_, true)) {
      log_warning("the node does not answer, trying again",
                  {{"socket", socket_.string()}, {"error", channel.error().message}});
    }
    reconnect_later();
    return;
  }
  channel_ = std::move(*channel);
  decoder_ = std::make_unique<wire::FrameDecoder>();
  channel_->start({.on_data = [this](std::string_view bytes) { receive(bytes); },
                   .on_close = [this](const Error& error) { connection_lost(error); }});
  std::string bytes;
  wire::append_hello(bytes, {.role = "router", .id = "router", .generation = generation_});
  channel_->write(std::move(bytes));
}

void NodeLink::reconnect_later() {
  if (stopped_) return;
  retry_after_ = retry_after_ == Duration{} ? kFirstRetry : std::min<Duration>(retry_after_ * 2, kLongestRetry);
  retry_ = loop_.call_after(retry_after_, [this] { connect(); });
}

void NodeLink::connection_lost(const Error& error) {
  const bool was_up = std::exchange(up_, false);
  if (channel_) channel_->close();
  channel_.reset();
  out_.clear();
  ack_timer_.cancel();
  if (was_up) {
    down_since_ = loop_.now();
    log_warning("lost the node, its requests stay pending", {{"node", node_id_}, {"error", error.message}});
    listener_.link_down();
  }
  reconnect_later();
}

void NodeLink::receive(std::string_view bytes) {
  const std::shared_ptr<net::ByteChannel> alive = channel_;
  decoder_->feed(bytes);
  while (channel_ == alive) {
    auto frame = decoder_->next();
    if (!frame) return connection_lost(frame.error());
    if (!*frame) break;
    if (const auto handled = handle(**frame); !handled) return connection_lost(handled.error());
  }
  if (channel_ != alive) return;
  if (!out_.empty()) flush();
  if (last_result_ > acked_) ack_later();
}

Result<> NodeLink::handle(const wire::Frame& frame) {
  if (!up_ && frame.type() != wire::FrameType::hello) return fail(ErrorCode::corrupt, "wire: no HELLO at first");
  switch (frame.type()) {
    case wire::FrameType::hello:
      return handle_hello(frame);
    case wire::FrameType::results:
      handle_results(frame);
      return {};
    case wire::FrameType::credits:
      for (const wire::CreditEntry& entry : wire::Entries<wire::CreditEntry>(frame)) {
        listener_.credits_given(entry.target, entry.limit);
      }
      return {};
    case wire::FrameType::progress:
      for (const wire::Progress& entry : wire::Entries<wire::Progress>(frame)) {
        const auto call = calls_.find(entry.id);
        if (call != calls_.end() && call->second.call.progress) call->second.call.progress(entry.payload);
      }
      return {};
    case wire::FrameType::event:
      handle_event(frame.body);
      return {};
    case wire::FrameType::ping: {
      std::string bytes;
      wire::append_pong(bytes, frame.seq());
      channel_->write(std::move(bytes));
      return {};
    }
    default:
      return {};  // GOODBYE: the node closes soon, and its successor is attached to
  }
}

Result<> NodeLink::handle_hello(const wire::Frame& frame) {
  TRY(const wire::Hello hello, wire::parse_hello(frame.body));
  TRY_VOID(wire::agree_version(wire::Hello{.role = "router"}, hello));
  if (up_) return fail(ErrorCode::corrupt, "wire: a second HELLO");
  if (hello.boot != boot_ || boot_.empty()) {
    boot_ = hello.boot;
    last_result_ = acked_ = 0;
  }
  node_id_ = hello.id;
  batch_ = wire::RequestBatchWriter(hello.frame_limit_bytes);
  up_ = true;
  complained_ = false;
  retry_after_ = {};
  log_info("connected to the node", {{"node", node_id_}});
  listener_.link_up();
  attach();
  for (auto& [id, pending] : calls_) {
    if (pending.sent == 0) send_call(id, pending);
  }
  flush();
  return {};
}

void NodeLink::attach() {
  std::vector<uint64_t> ids = listener_.ids_in_flight();
  for (const auto& [id, pending] : calls_) {
    if (pending.sent > 0) ids.push_back(id);
  }
  if (ids.empty() && last_result_ == 0) return;
  size_t from = 0;
  do {
    const size_t count = std::min(ids.size() - from, wire::kMaxEntries);
    wire::append_attach(
        out_, last_result_,
        {ids.begin() + static_cast<ptrdiff_t>(from), ids.begin() + static_cast<ptrdiff_t>(from + count)});
    from += count;
  } while (from < ids.size());
  for (const uint64_t id : listener_.ids_given_up()) wire::append_cancel(out_, {id});
}

void NodeLink::handle_results(const wire::Frame& frame) {
  for (const wire::ResultView& result : wire::Entries<wire::ResultView>(frame)) {
    // The first number seen of a node process is taken as it is: it may have answered an earlier router.
    if (last_result_ != 0 && result.seq <= last_result_) continue;  // sent again after ATTACH
    last_result_ = result.seq;
    if (calls_.contains(result.id)) {
      finish_call(result);
    } else {
      listener_.result_arrived(result);
    }
  }
}

void NodeLink::finish_call(const wire::ResultView& result) {
  const auto found = calls_.find(result.id);
  if (result.status == wire::Status::unknown && found->second.sent < kCallTries) {
    return send_call(result.id, found->second);  // it never arrived there
  }
  const auto done = std::move(found->second.call.done);
  calls_.erase(found);
  if (result.status == wire::Status::ok) {
    done(std::string(result.value));
  } else {
    done(Unexpected(call_error(result)));
  }
}

void NodeLink::handle_event(std::string_view text) {
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object() || text_of(json, "event") != "target") return;
  policy::TargetReport report;
  report.state = target_state(text_of(json, "state"));
  report.phase = text_of(json, "phase");
  report.reason = text_of(json, "reason");
  const auto estimate = json.find("estimate_ms");
  if (estimate != json.end() && estimate->is_number_unsigned())
    report.estimate = milliseconds(estimate->get<int64_t>());
  const auto target = json.find("target");
  if (target == json.end() || !target->is_number_unsigned()) return;
  listener_.target_reported(target->get<uint32_t>(), report);
}

void NodeLink::open(uint32_t target, std::string_view json) {
  if (up_) wire::append_open(out_, target, json);
}

bool NodeLink::send(const wire::RequestEntry& entry, std::string_view payload) {
  if (batch_.add(entry, payload) == wire::Added::yes) return true;
  acked_ = last_result_;
  batch_.write(out_, last_result_);
  return batch_.add(entry, payload) == wire::Added::yes;
}

void NodeLink::cancel(uint64_t id) {
  if (!up_) return;
  if (!batch_.empty()) flush();  // a cancel must not overtake its request
  wire::append_cancel(out_, {id});
}

void NodeLink::flush() {
  if (!up_) return;
  if (!batch_.empty()) {
    acked_ = last_result_;
    batch_.write(out_, last_result_);
  }
  if (!out_.empty()) channel_->write(std::exchange(out_, {}));
}

void NodeLink::ack_later() {
  if (ack_timer_.is_set()) return;
  ack_timer_ = loop_.call_after(kAckAfter, [this] {
    ack_timer_ = {};
    if (!up_ || last_result_ == acked_) return;
    acked_ = last_result_;
    wire::append_ack(out_, last_result_);
    flush();
  });
}

void NodeLink::call(NodeCall call) {
  const uint64_t id = next_id();
  PendingCall& pending = calls_.emplace(id, PendingCall{.call = std::move(call)}).first->second;
  if (!up_) return;
  send_call(id, pending);
  flush();
}

void NodeLink::send_call(uint64_t id, PendingCall& pending) {
  ++pending.sent;
  const std::string payload =
      Json(pending.call.method).dump().insert(0, R"({"method":)") + R"(,"params":)" + pending.call.params + "}";
  wire::RequestBatchWriter alone;
  uint32_t deadline_ms = 0;
  if (const auto left = pending.call.deadline.left(loop_.now())) {
    deadline_ms =
        static_cast<uint32_t>(std::clamp<int64_t>(std::chrono::ceil<milliseconds>(*left).count(), 1, UINT32_MAX));
  }
  alone.add({.id = id, .deadline_ms = deadline_ms, .kind = wire::RequestKind::call}, payload);
  acked_ = last_result_;
  alone.write(out_, last_result_);
}

/// Calls whose deadline has passed, or that wait for a node that does not come.
void NodeLink::expire_calls() {
  std::vector<NodeCall> passed;
  for (auto it = calls_.begin(); it != calls_.end();) {
    if (it->second.call.deadline.passed(loop_.now())) {
      passed.push_back(std::move(it->second.call));
      cancel(it->first);
      it = calls_.erase(it);
    } else {
      ++it;
    }
  }
  flush();
  for (const NodeCall& call : passed) {
    call.done(fail(up_ ? ErrorCode::deadline_exceeded : ErrorCode::unavailable,
                   up_ ? "the node did not finish " + call.method + " in time" : "the node is not connected"));
  }
}

}  // namespace hearth::router
