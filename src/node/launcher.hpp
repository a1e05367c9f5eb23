// How a replica's processes come to life and end. Production: containers (container_launcher.hpp). Tests: plain
// processes. Every call blocks and is made from the pool; implementations are thread-safe.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"
#include "catalog/version_record.hpp"
#include "policy/replica_lifecycle.hpp"

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace hearth::node {

/// The replica's first process (the runner's supervisor), safe against pid reuse, and its cgroup.
struct ReplicaProcess {
  pid_t pid = -1;
  uint64_t start_time = 0;  // clock ticks since boot
  std::string cgroup;
  bool operator==(const ReplicaProcess&) const = default;
};

struct LaunchRequest {
  std::string id;
  catalog::VersionRecord version;
  std::filesystem::path directory;  // RUN/replicas/<id>: exists, and is removed by destroy()
  std::vector<int> listen_fds;      // control, then one a worker: become 3, 4, … in the replica; borrowed
  std::vector<std::string> preload_imports;
  uint32_t max_batch = 1;
  std::function<void(policy::ReplicaState)> on_reached;  // fetching, then starting; called from any thread
  Deadline deadline;
};

struct Launched {
  ReplicaProcess process;
  std::map<std::string, double> phases_ms;  // fetch, mount, container
};

/// How the first process ended.
struct ProcessEnd {
  int code = 0;
  int signal = 0;
  bool out_of_memory = false;
  bool known = true;       // false: nobody saw it end
  std::string last_words;  // what it wrote outside of any request, its end
};

/// What the last start read of one layer: imagefs's JSON (docs/formats/imagefs.md), or why there is none.
struct LayerTrace {
  catalog::LayerRef layer;
  Result<std::string> trace;
};

class ReplicaLauncher {
 public:
  virtual ~ReplicaLauncher() = default;

  /// On failure nothing is left but the directory.
  virtual Result<Launched> launch(LaunchRequest request) = 0;
  /// A replica of this version has served for a while: its start is over. Best effort.
  virtual void start_is_over(const catalog::VersionRecord& /*version*/) {}
  /// Of the layers of its last start here, bottom to top, artifacts last.
  virtual std::vector<LayerTrace> traces(const catalog::VersionRecord& /*version*/) { return {}; }
  /// Kills what runs and removes everything, the directory too. Success when already gone.
  virtual Result<> destroy(const std::string& id) = 0;

  virtual Result<> freeze(const ReplicaProcess& process) = 0;
  virtual Result<> thaw(const ReplicaProcess& process) = 0;
  /// How many processes were killed for lack of memory in there; 0 when it cannot be told.
  virtual uint64_t oom_kills(const ReplicaProcess& process) = 0;
  /// nullopt when nobody knows any more.
  virtual std::optional<ProcessEnd> how_it_ended(const std::string& id, const ReplicaProcess& process) = 0;
  /// Same pid and start time, and no zombie.
  virtual bool is_running(const ReplicaProcess& process) = 0;
  /// Ids of everything in RUN/replicas or known to the runtime, dead or alive.
  virtual Result<std::vector<std::string>> list() = 0;
};

/// What the runner is told (HEARTH_RUNNER). `code` is where the code folder lies inside.
std::string runner_settings(const LaunchRequest& request, std::string_view code);

/// The last line that says something; empty when there is none.
std::string last_line_of(const std::filesystem::path& file);

/// "killed by signal 9 (out of memory)", "exit code 3".
std::string to_string(const ProcessEnd& end);

}  // namespace hearth::node
