// Node: what routers send.
#include "base/log.hpp"
#include "catalog/names.hpp"
#include "node/json_fields.hpp"
#include "node/node.hpp"
#include "wire/frame_writer.hpp"

#include <algorithm>
#include <utility>

namespace hearth::node {

namespace {

constexpr size_t kSessionsKept = 64;
constexpr Duration kAckDelay = milliseconds(20);  // acknowledgements to workers usually ride in requests

Result<ReplicaKey> parse_target(std::string_view text) {
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
  ReplicaKey key{{text_field(json, "workspace"), text_field(json, "model"), text_field(json, "branch")},
                 static_cast<uint32_t>(integer_field(json, "version"))};
  // They become paths and keys here, whatever a router thinks of them.
  TRY_VOID(catalog::check_workspace_name(key.branch.workspace));
  TRY_VOID(catalog::check_model_name(key.branch.model));
  TRY_VOID(catalog::check_branch_name(key.branch.branch));
  if (key.version == 0) return fail(ErrorCode::invalid_argument, "a target needs a version number");
  return key;
}

}  // namespace

void Node::on_accept(std::shared_ptr<net::ByteChannel> channel) {
  // The handlers need the link, which exists only after they do.
  auto slot = std::make_shared<std::weak_ptr<WireLink>>();
  const auto named = [this](const std::weak_ptr<WireLink>& weak) { return session_of(weak.lock().get()); };
  auto link = std::make_shared<WireLink>(
      std::move(channel), context_.greeting,
      WireLink::Handlers{.on_hello = [this, slot](const wire::Hello& hello) { return on_hello(slot->lock(), hello); },
                         .on_frame =
                             [this, slot, named](const wire::Frame& frame) {
                               if (RouterSession* session = named(*slot)) on_frame(*session, frame);
                             },
                         .on_input_end = [this] { on_input_end(); },
                         .on_close = [this, slot](const Error&) { on_closed(slot->lock()); }});
  *slot = link;
  strangers_.push_back(std::move(link));
}

RouterSession* Node::session_of(const WireLink* link) {
  if (link == nullptr) return nullptr;
  for (const auto& [id, session] : sessions_) {
    if (session->link() == link) return session.get();
  }
  return nullptr;
}

Result<> Node::on_hello(const std::shared_ptr<WireLink>& link, const wire::Hello& hello) {
  if (hello.role != "router" || hello.id.empty()) return fail(ErrorCode::denied, "only routers are served here");
  std::erase(strangers_, link);
  if (const auto known = sessions_.find(hello.id);
      known != sessions_.end() && known->second->generation() != hello.generation) {
    drop_session(hello.id);  // that process is gone, and with it everybody who waited
  }
  std::unique_ptr<RouterSession>& session = sessions_[hello.id];
  if (session == nullptr) session = std::make_unique<RouterSession>(hello.id, hello.generation);
  session_timers_.erase(hello.id);
  session->connect(link);
  std::string out;
  wire::append_event(out, to_text({{"event", "inventory"}, {"status", nlohmann::json::parse(status_json())}}));
  session->send(std::move(out));
  log_info("router connected", {{"router", hello.id}});
  return {};
}

void Node::on_closed(const std::shared_ptr<WireLink>& link) {
  parts_.loop.defer([link] {});  // we are in its callback
  std::erase(strangers_, link);
  RouterSession* session = session_of(link.get());
  if (session == nullptr) return;
  const bool leaving = session->is_leaving();
  session->disconnect();
  session->set_disconnected_at(parts_.loop.now());
  const std::string id = session->id();
  log_info("router disconnected", {{"router", id}});
  if (leaving) {
    parts_.loop.defer([this, alive = alive_, id] {
      if (*alive) drop_session(std::string(id));
    });
    return;
  }
  session_timers_[id] =
      parts_.loop.call_after(options_.router_patience, [this, id] { out_of_patience(std::string(id)); });
}

/// Nobody waits for its requests any more.
void Node::give_up_work(RouterSession& session) {
  std::vector<uint64_t> ids;
  context_.requests.for_each([&session, &ids](const PendingRequest& request) {
    if (request.session == &session) ids.push_back(request.id);
  });
  for (const uint64_t id : ids) {
    PendingRequest* request = context_.requests.find(id);
    request->session = nullptr;
    if (request->stage == RequestStage::asked) {
      asked_.erase(id);
      context_.requests.erase(id);
    } else {
      request->replica->give_up(*request, GivenUp::cancelled);
    }
  }
  if (!ids.empty()) look_again_at(parts_.loop.now());
  for (auto& [id, call] : calls_) {
    if (call.session == &session) call.stop.request_stop();
  }
  std::erase_if(calls_, [&session](const auto& item) { return item.second.session == &session; });
  session.settle_everything();
  context_.unflushed.erase(&session);
}

void Node::drop_session(const std::string& id) {
  const auto found = sessions_.find(id);
  if (found == sessions_.end()) return;
  give_up_work(*found->second);
  sessions_.erase(found);
  session_timers_.erase(id);
}

/// The router has not come back in time. Should it come later all the same, it goes on counting results where it was:
/// the session itself stays, as long as there are not too many such.
void Node::out_of_patience(const std::string& id) {
  const auto found = sessions_.find(id);
  if (found == sessions_.end()) return;
  give_up_work(*found->second);
  if (sessions_.size() <= kSessionsKept) return;
  const auto oldest = std::ranges::min_element(sessions_, {}, [](const auto& item) {
    return item.second->connected() ? MonoTime::max() : item.second->disconnected_at();
  });
  if (!oldest->second->connected()) drop_session(std::string(oldest->first));
}

void Node::on_frame(RouterSession& session, const wire::Frame& frame) {
  switch (frame.type()) {
    case wire::FrameType::requests:
      return on_requests(session, frame);
    case wire::FrameType::ack:
      return acknowledge(session, frame.seq());
    case wire::FrameType::cancel:
      return on_cancel(session, frame);
    case wire::FrameType::attach:
      return on_attach(session, frame);
    case wire::FrameType::open:
      return on_open(session, frame);
    case wire::FrameType::goodbye:
      return session.set_leaving();
    default:
      return;
  }
}

/// Everything that arrived together has been read: now workers are chosen, so that batches are as large as they can be.
void Node::on_input_end() {
  for (Replica* replica : touched_) replica->dispatch();
  for (Replica* replica : touched_) replica->own_payloads();
  touched_.clear();
  context_.flush_sessions();
}

void Node::acknowledge(RouterSession& session, uint64_t seq) {
  session.acknowledge(seq);
  if (ack_timer_.is_set()) return;
  ack_timer_ = parts_.loop.call_after(kAckDelay, [this] {
    for (const auto& [key, replica] : replicas_) replica->flush_acks();
  });
}

void Node::on_requests(RouterSession& session, const wire::Frame& frame) {
  if (frame.seq() > 0) acknowledge(session, frame.seq());
  for (const wire::Request& request : wire::Entries<wire::Request>(frame)) {
    if (request.kind == wire::RequestKind::call) {
      on_call(session, request);
    } else {
      on_request(session, request);
    }
  }
}

void Node::on_request(RouterSession& session, const wire::Request& request) {
  Replica* replica = session.target(request.target);
  if (replica == nullptr || stopping_) {
    return session.deliver_failure(request.id, wire::Status::not_ready,
                                   stopping_ ? "the node stops" : "that target was never opened");
  }
  PendingRequest* pending = context_.requests.add(request.id);
  if (pending == nullptr) return log_warning("request id used twice", {{"router", session.id()}});
  const MonoTime now = parts_.loop.now();
  pending->session = &session;
  pending->received = now;
  pending->borrowed = request.payload;
  if (request.deadline_ms > 0) {
    pending->deadline = Deadline::after(now, milliseconds(request.deadline_ms));
    look_again_at(*pending->deadline.at());
  }
  if (touched_.empty() || touched_.back() != replica) {
    if (std::ranges::find(touched_, replica) == touched_.end()) touched_.push_back(replica);
  }
  replica->accept(*pending);
}

void Node::on_cancel(RouterSession& session, const wire::Frame& frame) {
  for (const wire::IdEntry& entry : wire::Entries<wire::IdEntry>(frame)) {
    if (stop_call(session, entry.id)) continue;
    PendingRequest* request = context_.requests.find(entry.id);
    if (request == nullptr || request->session != &session) continue;
    if (request->stage == RequestStage::asked) {
      request->given_up = GivenUp::cancelled;
      request->given_up_at = parts_.loop.now();
      for (const auto& [key, replica] : replicas_) {
        if (replica->is_adopted()) replica->cancel_everywhere(entry.id);
      }
    } else {
      request->replica->give_up(*request, GivenUp::cancelled);
    }
    look_again_at(parts_.loop.now());
  }
}

void Node::on_open(RouterSession& session, const wire::Frame& frame) {
  const auto handle = static_cast<uint32_t>(frame.seq());
  Result<ReplicaKey> key = parse_target(frame.body);
  if (!key) {
    std::string out;
    wire::append_event(out, to_text({{"event", "target"},
                                     {"target", handle},
                                     {"state", "failed"},
                                     {"phase", "stopped"},
                                     {"reason", key.error().message}}));
    return session.send(std::move(out));
  }
  Replica& replica = replica_for(*key);
  session.open(handle, &replica);
  const nlohmann::json json = nlohmann::json::parse(frame.body, nullptr, false);
  const nlohmann::json* start = field(json, "start");
  if (start != nullptr && start->is_boolean() && start->get<bool>() && !stopping_) replica.want();
  announce_to(session, replica, handle);
}

}  // namespace hearth::node
