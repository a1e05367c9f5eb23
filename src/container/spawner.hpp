// How a container runtime's process is started: by the holder in production, directly in tests and tools.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace hearth::container {

struct SpawnRequest {
  std::vector<std::string> argv;  // argv[0] is an absolute path
  std::vector<std::string> env;   // "KEY=value"
  std::filesystem::path cwd = "/";
  /// Descriptor in the child ← descriptor of the caller. 0, 1, 2 are /dev/null where not named.
  std::vector<std::pair<int, int>> fds;
  Deadline deadline;
};

/// Starts a program, waits for it and returns its exit status (128 + signal when killed). What the program leaves
/// running (a container) becomes a child of the spawning process when that is a subreaper. Thread-safe.
class Spawner {
 public:
  virtual ~Spawner() = default;
  virtual Result<int> run(const SpawnRequest& request) = 0;
};

/// fork and exec from this process.
class DirectSpawner final : public Spawner {
 public:
  Result<int> run(const SpawnRequest& request) override;
};

}  // namespace hearth::container
