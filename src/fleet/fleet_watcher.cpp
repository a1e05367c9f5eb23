#include "fleet/fleet_watcher.hpp"

#include "base/log.hpp"
#include "fleet/fleet_keys.hpp"

#include <utility>
#include <vector>

namespace hearth::fleet {

namespace {
constexpr const char* kScanCount = "1000";
}

struct FleetWatcher::State : std::enable_shared_from_this<FleetWatcher::State> {
  net::EventLoop& loop;
  FleetTimes times;
  redis::RedisConnection redis;
  std::function<void(const Nodes&)> on_change;
  net::Timer interval;
  net::Timer soon;
  Nodes nodes;
  std::map<std::string, MonoTime, std::less<>> heard;  // when we last heard of a node
  MonoTime up_since;
  bool read_all = false;

  State(net::EventLoop& l, redis::RedisOptions options, FleetTimes t)
      : loop(l), times(t), redis(l, std::move(options)) {}

  void watch();
  void scan(const std::string& cursor, std::vector<std::string> keys);
  void read(std::vector<std::string> keys);
  void learn(std::string_view json);
  void forget(std::string_view node_id);
  void expire();
  void changed();
};

void FleetWatcher::State::watch() {
  auto weak = weak_from_this();
  redis.subscribe(kNodeChannel, [this](std::string_view json) { learn(json); });
  redis.subscribe(kGoodbyeChannel, [this](std::string_view node_id) { forget(node_id); });
  redis.on_up([this] {
    up_since = loop.now();
    scan("0", {});
  });
  interval = loop.call_every(times.publish_interval, [this] {
    if (redis.is_up()) scan("0", {});
  });
  redis.start();
}

void FleetWatcher::State::scan(const std::string& cursor, std::vector<std::string> keys) {
  std::vector<std::string> command = {"SCAN", cursor, "MATCH", std::string(kNodeKeyPrefix) + "*", "COUNT", kScanCount};
  redis.command(std::move(command), [weak = weak_from_this(), keys](const Result<redis::RespValue>& reply) mutable {
    auto self = weak.lock();
    if (!self || !reply || reply->items.size() != 2) return;
    for (const redis::RespValue& key : reply->items[1].items) keys.push_back(key.text);
    if (reply->items[0].text != "0") return self->scan(reply->items[0].text, std::move(keys));
    self->read(std::move(keys));
  });
}

void FleetWatcher::State::read(std::vector<std::string> keys) {
  if (keys.empty()) {
    read_all = true;
    return expire();
  }
  keys.insert(keys.begin(), "MGET");
  redis.command(std::move(keys), [weak = weak_from_this()](const Result<redis::RespValue>& reply) {
    auto self = weak.lock();
    if (!self || !reply) return;
    for (const redis::RespValue& value : reply->items)
      if (value.is_text()) self->learn(value.text);
    self->read_all = true;
    self->expire();
  });
}

void FleetWatcher::State::learn(std::string_view json) {
  auto announcement = announcement_from_json(json);
  if (!announcement) return log_warning("unreadable announcement", {{"reason", announcement.error().message}});
  heard.insert_or_assign(announcement->node_id, loop.now());
  NodeAnnouncement& known = nodes[announcement->node_id];
  bool is_old =
      std::pair(announcement->generation, announcement->sequence) <= std::pair(known.generation, known.sequence);
  if (is_old && !known.node_id.empty()) return;
  // A heartbeat that says nothing new is no change.
  uint64_t sequence = std::exchange(known.sequence, announcement->sequence);
  bool is_same = known == *announcement;
  known.sequence = sequence;
  known = std::move(*announcement);
  if (!is_same) changed();
}

void FleetWatcher::State::forget(std::string_view node_id) {
  auto found = nodes.find(node_id);
  if (found == nodes.end()) return;
  heard.erase(found->first);
  nodes.erase(found);
  changed();
}

void FleetWatcher::State::expire() {
  MonoTime now = loop.now();
  // After a reconnect nodes need time to find their way back as well.
  if (now - up_since < times.time_to_live) return;
  std::vector<std::string> silent;
  for (const auto& [node_id, when] : heard)
    if (now - when > times.time_to_live) silent.push_back(node_id);
  for (const std::string& node_id : silent) {
    log_warning("node is silent and leaves the list", {{"node", node_id}});
    forget(node_id);
  }
}

void FleetWatcher::State::changed() {
  if (soon.is_set()) return;
  soon = loop.call_after(Duration::zero(), [this] {
    if (on_change) on_change(nodes);
  });
}

FleetWatcher::FleetWatcher(net::EventLoop& loop, redis::RedisOptions options,
                           std::function<void(const Nodes&)> on_change, FleetTimes times)
    : state_(std::make_shared<State>(loop, std::move(options), times)) {
  state_->on_change = std::move(on_change);
  state_->watch();
}

FleetWatcher::~FleetWatcher() = default;

const FleetWatcher::Nodes& FleetWatcher::nodes() const {
  return state_->nodes;
}
bool FleetWatcher::has_read_all() const {
  return state_->read_all;
}
bool FleetWatcher::is_redis_up() const {
  return state_->redis.is_up();
}

}  // namespace hearth::fleet
