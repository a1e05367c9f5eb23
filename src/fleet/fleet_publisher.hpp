// A node's side of the fleet state: keeps its announcement alive in Redis. Belongs to the loop's thread.
#pragma once

#include "base/clock.hpp"
#include "fleet/announcement.hpp"
#include "net/event_loop.hpp"
#include "redis/redis_connection.hpp"

#include <functional>
#include <memory>

namespace hearth::fleet {

struct FleetTimes {
  Duration publish_interval = seconds(2);
  Duration time_to_live = seconds(10);
};

/// Publishes on change (once a turn of the loop at most), every interval, and after each reconnect. Failure is silent
/// here: Redis being away is no news to a node, and it publishes again as soon as it is back.
class FleetPublisher {
 public:
  /// Makes and owns its connection.
  FleetPublisher(net::EventLoop& loop, redis::RedisOptions options, FleetTimes times = {});
  ~FleetPublisher();

  /// Replaces what is announced; the sequence number is set here.
  void announce(NodeAnnouncement announcement);
  /// Says goodbye: routers forget the node at once. `done` is called in every case.
  void withdraw(std::function<void()> done);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace hearth::fleet
