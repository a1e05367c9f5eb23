// Containers: what one may see and use (ContainerSpec), and the runtime that starts, finds and ends them.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "container/cgroup.hpp"
#include "container/layer_stack.hpp"
#include "container/spawner.hpp"

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace hearth::container {

enum class Network {
  none,  // an own empty namespace with loopback only
  nat,   // an own namespace, NAT to the outside
  host,  // the host's: build containers only, which must reach whatever package index the host reaches
};

struct ResourceLimits {
  double cpus = 1.0;
  uint64_t memory_bytes = uint64_t{1} << 30;  // swap included: no swap beyond it
  uint32_t pids = 256;
  uint64_t tmp_bytes = uint64_t{256} << 20;  // each of /tmp, /var/tmp, /run, home; charged to memory as it fills
  uint64_t shm_bytes = uint64_t{64} << 20;
  uint64_t open_files = 65536;
};

/// A host path, or a path inside a detached mount (an artifact's layer), shown inside.
struct BindMount {
  std::string target;                 // absolute, inside
  std::filesystem::path source;       // host path; or, when `tree` is set, relative to its root (empty: the root)
  UniqueFd tree;                      // detached mount with ids as in the image; not id-mapped yet
  Access access = Access::read_only;  // read_write: host folders of builds only; ids on disk are as inside
};

/// Linux capabilities by OCI name ("CAP_CHOWN"). A replica has none.
using Capabilities = std::vector<std::string>;
/// What package managers need inside a build container, and no more.
Capabilities build_capabilities();

struct ContainerSpec {
  std::string id;  // letters, digits, '-'; unique on the machine for this runtime
  std::string hostname = "replica";
  std::vector<std::string> argv;
  std::vector<std::string> env;  // "KEY=value"; PATH and HOME are added when absent
  std::string cwd = "/";
  uint32_t uid = 1000;  // inside
  uint32_t gid = 1000;
  std::string home = "/home/model";
  IdMap ids;  // host_base 0 is refused
  ResourceLimits limits;
  Network network = Network::none;
  Capabilities capabilities;
  std::vector<UniqueFd> layers;           // bottom to top, as imagefs gives them; consumed
  std::optional<WritableLayer> writable;  // build containers only; a replica's root is read-only
  std::vector<BindMount> binds;
  std::vector<int> listen_fds;  // become 3, 4, … inside; borrowed
  int stdin_fd = -1;            // borrowed; /dev/null when -1
  int stdout_fd = -1;
  int stderr_fd = -1;
};

/// Milliseconds spent, by phase of a start.
struct StartPhases {
  double mount_ms = 0;    // id maps, overlay, binds
  double bundle_ms = 0;   // config.json
  double runtime_ms = 0;  // runc
  double network_ms = 0;  // veth and NAT, when asked for
};

/// A started container. Plain data: store it, and adopt with it after a restart.
struct Container {
  std::string id;
  pid_t pid = -1;           // of its first process, on the host
  uint64_t start_time = 0;  // of that pid, clock ticks since boot (field 22 of /proc/PID/stat): pid reuse is noticed
  std::string cgroup;       // for Cgroup::open
  StartPhases phases;
};

struct RuntimeConfig {
  std::string runtime = "runc";   // program name or path of any OCI runtime with runc's command line
  std::filesystem::path run_dir;  // RUN: bundles in run_dir/replicas/<id>, runtime state in run_dir/runtime
  std::string cgroup_parent;      // "/hearth/<12 hex>"
};

/// Thread-safe; every call blocks, so not on an event loop. Containers outlive it and the process.
class ContainerRuntime {
 public:
  /// Probes what is needed (root, the runtime, cgroups, mount features); each lack is one error that says what to do.
  static Result<ContainerRuntime> open(RuntimeConfig config, std::shared_ptr<Spawner> spawner);

  /// On failure nothing is left. Errors carry the runtime's own last message.
  Result<Container> start(ContainerSpec spec);

  /// Runs to completion and removes everything: build containers. `on_output` gets stdout and stderr as read.
  Result<int> run(ContainerSpec spec, const std::function<void(std::string_view)>& on_output, Deadline deadline);

  Result<Cgroup> cgroup(const Container& container) const;
  Result<> signal(const Container& container, int signal_number);
  /// Kills what runs and removes mounts, cgroups, network and bundle. Success when already gone.
  Result<> destroy(const std::string& id);
  /// Ids of all containers of this run_dir that have left anything behind, running or dead.
  Result<std::vector<std::string>> list() const;
  /// RUN/replicas/<id>: the caller may keep own files here; destroy removes it.
  std::filesystem::path directory(const std::string& id) const;

 private:
  struct State;
  explicit ContainerRuntime(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

/// True while the process is the one that was started (same pid and start time) and is not a zombie.
bool is_running(const Container& container);

}  // namespace hearth::container
