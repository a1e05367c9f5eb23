// The blocking part of a start: version record → directory and sockets → launched processes. Runs in the pool.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"
#include "node/launcher.hpp"
#include "node/replica_record.hpp"

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace hearth::node {

/// Reads a version record; blocking, thread-safe.
using VersionSource = std::function<Result<catalog::VersionRecord>(const catalog::BranchRef&, uint32_t)>;

struct StartOrder {
  ReplicaKey key;
  std::filesystem::path run_dir;                  // RUN
  std::filesystem::path data_dir;                 // DATA/node
  std::optional<catalog::VersionRecord> version;  // read from `versions` when absent
  VersionSource versions;
  ReplicaLauncher* launcher = nullptr;
  uint32_t max_batch = 1;
  std::function<void(policy::ReplicaState)> on_reached;
};

struct StartedReplica {
  catalog::VersionRecord version;
  ReplicaRecord record;
  std::filesystem::path directory;
  std::map<std::string, double> phases_ms;  // record, fetch, mount, container
};

/// On failure nothing is left.
Result<StartedReplica> start_replica(const StartOrder& order);

/// RUN/replicas/<id>
std::filesystem::path replica_directory(const std::filesystem::path& run_dir, const std::string& id);

/// The third-party modules that earlier starts of this version imported: DATA/node/preload/…json.
std::vector<std::string> read_preload_list(const std::filesystem::path& data_dir, const ReplicaKey& key);
void write_preload_list(const std::filesystem::path& data_dir, const ReplicaKey& key,
                        const std::vector<std::string>& modules);

}  // namespace hearth::node
