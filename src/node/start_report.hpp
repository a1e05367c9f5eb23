// The report of a version's last start, for `hearth trace cold-start`: how long its phases took, and what the reads of
// its layers waited for. Pure.
#pragma once

#include "base/clock.hpp"
#include "node/launcher.hpp"
#include "node/replica_record.hpp"

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace hearth::node {

/// What the node itself remembers of a start.
struct StartFacts {
  std::string node;
  ReplicaKey key;
  std::string state;                      // of the replica now
  std::optional<WallTime> began;          // nullopt: not known
  std::map<std::string, double> took_ms;  // by phase; empty when the start was another node process's
};

/// Files listed as the slowest.
inline constexpr size_t kSlowestFiles = 20;

/// The answer to `start_report` (docs/formats/wire.md). Traces are imagefs's; what is no trace is told as the error it
/// is.
std::string start_report(const StartFacts& facts, const std::vector<LayerTrace>& layers);

}  // namespace hearth::node
