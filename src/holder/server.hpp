// The holder process: owns descriptors, children and reads under way that must survive restarts of node and imagefs.
#pragma once

#include "base/result.hpp"
#include "holder/event_group.hpp"

#include <cstdint>
#include <filesystem>

namespace hearth::holder {

struct Config {
  std::filesystem::path socket;                // created 0600; peers must be root or our own user
  uint64_t descriptors_max = kDescriptorsMax;  // fewer when the host allows fewer
  int group_fd = -1;  // borrowed: the group kImagesGroup that an earlier holder relayed, to go on with
  Child predecessor;  // that holder
};

/// Serves until SIGTERM or SIGINT, on the calling thread, which should be the only one. Becomes the subreaper of
/// everything it spawns. Children live on when it returns.
Result<> serve(const Config& config);

}  // namespace hearth::holder
