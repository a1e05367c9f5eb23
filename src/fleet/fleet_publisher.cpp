#include "fleet/fleet_publisher.hpp"

#include "fleet/fleet_keys.hpp"

#include <optional>
#include <utility>

namespace hearth::fleet {

struct FleetPublisher::State {
  net::EventLoop& loop;
  FleetTimes times;
  redis::RedisConnection redis;
  net::Timer interval;
  net::Timer soon;
  std::optional<NodeAnnouncement> announcement;
  uint64_t sequence = 0;

  State(net::EventLoop& l, redis::RedisOptions options, FleetTimes t)
      : loop(l), times(t), redis(l, std::move(options)) {}

  void publish() {
    if (!announcement || !redis.is_up()) return;
    announcement->sequence = ++sequence;
    std::string json = to_json(*announcement);
    auto ttl_ms = std::chrono::duration_cast<milliseconds>(times.time_to_live).count();
    auto ignore = [](const Result<redis::RespValue>&) {};
    redis.command({"SET", node_key(announcement->node_id), json, "PX", std::to_string(ttl_ms)}, ignore);
    redis.command({"PUBLISH", kNodeChannel, json}, ignore);
  }
};

FleetPublisher::FleetPublisher(net::EventLoop& loop, redis::RedisOptions options, FleetTimes times)
    : state_(std::make_unique<State>(loop, std::move(options), times)) {
  State* state = state_.get();
  state->redis.on_up([state] { state->publish(); });
  state->interval = loop.call_every(times.publish_interval, [state] { state->publish(); });
  state->redis.start();
}

FleetPublisher::~FleetPublisher() = default;

void FleetPublisher::announce(NodeAnnouncement announcement) {
  state_->announcement = std::move(announcement);
  // Many changes of one turn are one publication.
  if (!state_->soon.is_set())
    state_->soon = state_->loop.call_after(Duration::zero(), [state = state_.get()] { state->publish(); });
}

void FleetPublisher::withdraw(std::function<void()> done) {
  auto announcement = std::exchange(state_->announcement, std::nullopt);
  if (!announcement || !state_->redis.is_up()) return done();
  state_->redis.command({"DEL", node_key(announcement->node_id)}, [](const Result<redis::RespValue>&) {});
  state_->redis.command({"PUBLISH", kGoodbyeChannel, announcement->node_id},
                        [done = std::move(done)](const Result<redis::RespValue>&) { done(); });
}

}  // namespace hearth::fleet
