// What a node tells the fleet about itself. The text form is docs/formats/fleet.md.
#pragma once

#include "base/result.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::fleet {

struct NodeCapacity {
  double cpu = 0;  // cores
  uint64_t memory_bytes = 0;
  bool operator==(const NodeCapacity&) const = default;
};

struct ReplicaSummary {
  std::string workspace, model, branch;
  uint64_t version = 0;
  std::string state;  // "ready", "paused", …: the words of design section 9
  uint32_t slots = 0;
  bool operator==(const ReplicaSummary&) const = default;
};

struct NodeAnnouncement {
  std::string node_id;
  std::string address;  // where its wire protocol is served: a Unix socket's path, or host:port
  NodeCapacity capacity;
  std::vector<ReplicaSummary> replicas;
  uint64_t generation = 0;  // of the node process: a later one is larger (its start time in microseconds)
  uint64_t sequence = 0;    // set by FleetPublisher: counts within a generation, so that late news is known as old
  bool operator==(const NodeAnnouncement&) const = default;
};

std::string to_json(const NodeAnnouncement& announcement);
/// Unknown members are skipped, so that newer nodes can be read; what is missing or of a wrong type is `corrupt`.
Result<NodeAnnouncement> announcement_from_json(std::string_view text);

}  // namespace hearth::fleet
