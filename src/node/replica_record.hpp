// What a node writes down about a replica before it starts it, so that the next node process can adopt it:
// RUN/replicas/<id>/state.json, on tmpfs (docs/formats/replica-state.md).
#pragma once

#include "base/result.hpp"
#include "catalog/version_record.hpp"
#include "node/launcher.hpp"

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace hearth::node {

/// Names one version on this node.
struct ReplicaKey {
  catalog::BranchRef branch;
  uint32_t version = 0;

  auto operator<=>(const ReplicaKey&) const = default;
};

/// "workspace/model/branch/7"
std::string to_string(const ReplicaKey& key);

enum class RecordPhase {
  starting,  // written before anything is made: found by a later node, it is a half-made replica and is destroyed
  running,
  paused,
};

struct ReplicaRecord {
  std::string id;
  ReplicaKey key;
  RecordPhase phase = RecordPhase::starting;
  uint32_t slots = 1;
  ReplicaProcess process;
  std::string boot_id;  // of the machine: what an earlier boot wrote is dead
  int64_t started_us = 0;
};

std::string replica_record_to_json(const ReplicaRecord& record);
Result<ReplicaRecord> replica_record_from_json(std::string_view json);

/// Blocking, atomic.
Result<> write_replica_record(const std::filesystem::path& directory, const ReplicaRecord& record);
Result<ReplicaRecord> read_replica_record(const std::filesystem::path& directory);
/// The version record beside it: adoption needs no object store.
Result<> write_replica_version(const std::filesystem::path& directory, const catalog::VersionRecord& version);
Result<catalog::VersionRecord> read_replica_version(const std::filesystem::path& directory);

inline std::filesystem::path control_socket(const std::filesystem::path& directory) {
  return directory / "control.sock";
}
inline std::filesystem::path worker_socket(const std::filesystem::path& directory, uint32_t index) {
  return directory / ("worker-" + std::to_string(index) + ".sock");
}

/// /proc/sys/kernel/random/boot_id
std::string machine_boot_id();
/// Field 22 of /proc/<pid>/stat; 0 when there is no such process.
uint64_t process_start_time(pid_t pid);

}  // namespace hearth::node
