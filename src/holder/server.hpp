// The holder process: owns descriptors and children that must survive restarts of node and imagefs.
#pragma once

#include "base/result.hpp"

#include <filesystem>

namespace hearth::holder {

struct Config {
  std::filesystem::path socket;  // created 0600; peers must be root or our own user
};

/// Serves until SIGTERM or SIGINT, on the calling thread, which should be the only one. Becomes the subreaper of
/// everything it spawns. Children live on when it returns.
Result<> serve(const Config& config);

}  // namespace hearth::holder
