// A router's side of the fleet state: the list of live nodes. Belongs to the loop's thread.
#pragma once

#include "fleet/announcement.hpp"
#include "fleet/fleet_publisher.hpp"
#include "net/event_loop.hpp"
#include "redis/redis_connection.hpp"

#include <functional>
#include <map>
#include <memory>
#include <string>

namespace hearth::fleet {

/// Reads all nodes after each (re)connect and every interval, and hears of changes in between. Losing Redis, or all
/// its data, keeps the last known list: a node leaves it only when it says goodbye, or when it has been silent for the
/// time to live while Redis was there to hear it. Leaving the list does not prove a node dead: a router that still has
/// a connection to it goes on using it.
class FleetWatcher {
 public:
  using Nodes = std::map<std::string, NodeAnnouncement, std::less<>>;  // by node id

  /// Makes and owns its connection. `on_change` is called after each change of the list, at most once a turn.
  FleetWatcher(net::EventLoop& loop, redis::RedisOptions options, std::function<void(const Nodes&)> on_change,
               FleetTimes times = {});
  ~FleetWatcher();

  const Nodes& nodes() const;
  /// All keys have been read at least once since start: what is not in the list was not there.
  bool has_read_all() const;
  bool is_redis_up() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace hearth::fleet
