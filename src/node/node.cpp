#include "node/node.hpp"

#include "base/log.hpp"
#include "base/random_id.hpp"
#include "net/listen.hpp"
#include "node/json_fields.hpp"
#include "wire/frame_writer.hpp"

#include <algorithm>
#include <utility>

namespace hearth::node {

using policy::ReplicaState;

namespace {

constexpr size_t kBootLength = 16;
constexpr Duration kOrphansKeptFor = seconds(10);
constexpr Duration kInterruptAfter = milliseconds(50);  // a cancelled call that ends by itself needs no interrupt
constexpr Duration kDeadlineGrain = milliseconds(10);
constexpr Duration kStopWithin = seconds(20);
constexpr Duration kStopPoll = milliseconds(20);

wire::Hello greeting(const std::string& id, const std::string& boot) {
  wire::Hello hello;
  hello.role = "node";
  hello.id = id;
  hello.boot = boot;
  return hello;
}

}  // namespace

Node::Node(Parts parts, NodeOptions options)
    : parts_(std::move(parts)),
      options_(std::move(options)),
      boot_(random_id(kBootLength)),
      context_{.loop = parts_.loop,
               .pool = parts_.pool,
               .launcher = parts_.launcher,
               .versions = parts_.versions,
               .run_dir = options_.run_dir,
               .data_dir = options_.data_dir,
               .greeting = greeting(options_.id, boot_),
               .permits = StartPermits(options_.start_permits)},
      alive_(std::make_shared<bool>(true)) {
  context_.announce = [this](Replica& replica) { announce(replica); };
  context_.give_credits = [this](Replica& replica) { give_credits(replica); };
  context_.look_again_at = [this](MonoTime at) { look_again_at(at); };
  context_.unexpected_result = [this](Replica& replica, uint32_t worker, const wire::ResultView& result,
                                      ResultOrigin origin) {
    on_unexpected_result(replica, worker, result, std::move(origin));
  };
  context_.worker_gone = [this](Replica& replica, uint32_t worker) { on_worker_gone(replica, worker); };
}

Node::~Node() {
  *alive_ = false;
}

Result<> Node::start() {
  TRY(const std::vector<std::string> ids, parts_.launcher.list());
  adopt_all(ids);
  TRY(UniqueFd listening, net::listen_unix({.path = options_.socket, .mode = 0660, .group = options_.router_gid}));
  TRY(listener_,
      net::StreamListener::start(parts_.loop, std::move(listening),
                                 [this](std::shared_ptr<net::ByteChannel> channel) { on_accept(std::move(channel)); }));
  orphan_timer_ = parts_.loop.call_after(kOrphansKeptFor, [this] { drop_orphans(); });
  return {};
}

void Node::stop(AfterStop after, std::function<void()> done) {
  if (std::exchange(stopping_, true)) return;
  listener_.reset();
  for (const auto& [id, session] : sessions_) {
    std::string goodbye;
    wire::append_goodbye(goodbye, R"({"reason":"the node stops"})");
    session->send(std::move(goodbye));
  }
  for (auto& [id, call] : calls_) call.stop.request_stop();
  if (after == AfterStop::replicas_stay) return done();
  for (const auto& [key, replica] : replicas_) replica->stop("the node stops");
  const MonoTime give_up = parts_.loop.now() + kStopWithin;
  stop_timer_ = parts_.loop.call_every(kStopPoll, [this, give_up, done = std::move(done)] {
    const bool running =
        std::ranges::any_of(replicas_, [](const auto& item) { return policy::has_process(item.second->state()); });
    if (running && parts_.loop.now() < give_up) return;
    if (running) log_error("some replicas did not stop");
    const std::function<void()> finished = done;
    stop_timer_.cancel();
    finished();
  });
}

// --- targets ---

Replica& Node::replica_for(const ReplicaKey& key) {
  std::shared_ptr<Replica>& replica = replicas_[key];
  if (replica == nullptr) replica = std::make_shared<Replica>(context_, key);
  return *replica;
}

void Node::announce(Replica& replica) {
  if (options_.on_change) options_.on_change();
  for (const auto& [id, session] : sessions_) {
    if (!session->connected()) continue;
    for (const uint32_t handle : session->handles_of(&replica)) announce_to(*session, replica, handle);
  }
}

void Node::give_credits(const Replica& replica) {
  const uint32_t limit = credits_for(replica);
  for (const auto& [id, session] : sessions_) {
    if (!session->connected()) continue;
    std::string out;
    for (const uint32_t handle : session->handles_of(&replica)) {
      wire::append_credits(out, {{.target = handle, .limit = limit}});
    }
    session->send(std::move(out));
  }
}

/// A share for each router that uses the version.
uint32_t Node::credits_for(const Replica& replica) const {
  const auto routers = static_cast<uint32_t>(std::ranges::count_if(sessions_, [&replica](const auto& item) {
    return item.second->connected() && !item.second->handles_of(&replica).empty();
  }));
  const uint32_t all = replica.credits();
  return all == 0 ? 0 : std::max(1U, all / std::max(1U, routers));
}

void Node::announce_to(RouterSession& session, Replica& replica, uint32_t handle) {
  nlohmann::json event = {{"event", "target"},
                          {"target", handle},
                          {"state", replica.wire_state()},
                          {"phase", policy::to_string(replica.state())},
                          {"estimate_ms", replica.start_estimate().count()}};
  if (const std::string reason = replica.wire_reason(); !reason.empty()) event["reason"] = reason;
  if (!replica.start_ms().empty()) event["start_ms"] = replica.start_ms();
  std::string out;
  wire::append_event(out, to_text(event));
  wire::append_credits(out, {{.target = handle, .limit = credits_for(replica)}});
  session.send(std::move(out));
}

// --- time ---

void Node::look_again_at(MonoTime at) {
  // On a grid, so that thousands of different deadlines cost a hundred looks a second at most.
  const MonoTime grid = MonoTime((at.time_since_epoch() / kDeadlineGrain + 1) * kDeadlineGrain);
  if (request_timer_at_ && *request_timer_at_ <= grid) return;
  request_timer_at_ = grid;
  request_timer_ = parts_.loop.call_at(grid, [this] { look_at_requests(); });
}

void Node::look_at_requests() {
  request_timer_at_.reset();
  std::vector<uint64_t> ids;
  const MonoTime now = parts_.loop.now();
  std::optional<MonoTime> next;
  context_.requests.for_each([&ids, now, &next](const PendingRequest& request) {
    const bool due = request.given_up != GivenUp::no || request.deadline.passed(now);
    if (due) {
      ids.push_back(request.id);
    } else if (request.deadline.at() && (!next || *request.deadline.at() < *next)) {
      next = request.deadline.at();
    }
  });
  for (const uint64_t id : ids) {
    PendingRequest* request = context_.requests.find(id);
    if (request != nullptr) look_at_request(*request, next);
  }
  if (next) look_again_at(*next);
}

void Node::look_at_request(PendingRequest& request, std::optional<MonoTime>& next) {
  const MonoTime now = parts_.loop.now();
  const uint64_t id = request.id;
  if (request.given_up == GivenUp::no) {
    Replica* replica = request.replica;
    if (replica != nullptr) {
      replica->give_up(request, GivenUp::deadline);
    } else {
      request.given_up = GivenUp::deadline;
      request.given_up_at = now;
    }
    if (context_.requests.find(id) == nullptr) return;
  }
  const MonoTime interrupt_at = request.given_up_at + kInterruptAfter;
  const MonoTime stuck_at = request.given_up_at + options_.stuck_after;
  MonoTime again = interrupt_at;
  if (now >= interrupt_at && !request.interrupted) {
    if (request.stage == RequestStage::asked) {
      request.interrupted = true;
      for (const auto& [key, replica] : replicas_) {
        if (replica->is_adopted()) replica->interrupt_everywhere(id);
      }
    } else {
      request.replica->interrupt(request);
    }
  }
  if (request.interrupted) again = stuck_at;
  if (request.interrupted && now >= stuck_at) {
    if (request.replica != nullptr) request.replica->stuck(request);
    again = now + options_.stuck_after;
  }
  if (!next || again < *next) next = again;
}

std::string Node::status_json() const {
  nlohmann::json replicas = nlohmann::json::array();
  for (const auto& [key, replica] : replicas_) {
    nlohmann::json item = {{"id", replica->id()},
                           {"workspace", key.branch.workspace},
                           {"model", key.branch.model},
                           {"branch", key.branch.branch},
                           {"version", key.version},
                           {"state", policy::to_string(replica->state())},
                           {"pid", replica->pid()},
                           {"slots", replica->slots()},
                           {"busy", replica->busy()},
                           {"queued", replica->queued()},
                           {"start_ms", replica->start_ms()}};
    const auto ago = parts_.loop.now() - replica->since();
    item["since"] = to_iso8601(wall_now() - std::chrono::duration_cast<WallTime::duration>(ago));
    if (!replica->reason().empty()) item["reason"] = replica->reason();
    replicas.push_back(std::move(item));
  }
  return to_text({{"node", options_.id}, {"replicas", std::move(replicas)}, {"resources", nlohmann::json::object()}});
}

}  // namespace hearth::node
