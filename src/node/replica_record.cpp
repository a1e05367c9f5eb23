#include "node/replica_record.hpp"

#include "base/file.hpp"
#include "base/process.hpp"
#include "node/json_fields.hpp"

namespace hearth::node {

namespace {

constexpr int kFormat = 1;
constexpr const char* kStateFile = "state.json";
constexpr const char* kVersionFile = "version.json";
constexpr uint64_t kFileLimitBytes = 4 << 20;

const char* name_of(RecordPhase phase) {
  switch (phase) {
    case RecordPhase::starting:
      return "starting";
    case RecordPhase::running:
      return "running";
    case RecordPhase::paused:
      return "paused";
  }
  return "starting";
}

}  // namespace

std::string to_string(const ReplicaKey& key) {
  return key.branch.workspace + "/" + key.branch.model + "/" + key.branch.branch + "/" + std::to_string(key.version);
}

std::string replica_record_to_json(const ReplicaRecord& record) {
  return to_text({{"format", kFormat},
                  {"id", record.id},
                  {"workspace", record.key.branch.workspace},
                  {"model", record.key.branch.model},
                  {"branch", record.key.branch.branch},
                  {"version", record.key.version},
                  {"phase", name_of(record.phase)},
                  {"slots", record.slots},
                  {"pid", record.process.pid},
                  {"start_time", record.process.start_time},
                  {"cgroup", record.process.cgroup},
                  {"boot_id", record.boot_id},
                  {"started_us", record.started_us}});
}

Result<ReplicaRecord> replica_record_from_json(std::string_view text) {
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
  if (integer_field(json, "format") != kFormat) return fail(ErrorCode::corrupt, "not a replica state of format 1");
  ReplicaRecord record;
  record.id = text_field(json, "id");
  record.key = {{text_field(json, "workspace"), text_field(json, "model"), text_field(json, "branch")},
                static_cast<uint32_t>(integer_field(json, "version"))};
  const std::string phase = text_field(json, "phase");
  record.phase = phase == "running"  ? RecordPhase::running
                 : phase == "paused" ? RecordPhase::paused
                                     : RecordPhase::starting;
  record.slots = static_cast<uint32_t>(integer_field(json, "slots"));
  record.process = {.pid = static_cast<pid_t>(integer_field(json, "pid")),
                    .start_time = static_cast<uint64_t>(integer_field(json, "start_time")),
                    .cgroup = text_field(json, "cgroup")};
  record.boot_id = text_field(json, "boot_id");
  record.started_us = integer_field(json, "started_us");
  if (record.id.empty() || record.slots == 0 || record.key.version == 0) {
    return fail(ErrorCode::corrupt, "a replica state lacks id, version or slots");
  }
  return record;
}

Result<> write_replica_record(const std::filesystem::path& directory, const ReplicaRecord& record) {
  return write_file_atomic(directory / kStateFile, replica_record_to_json(record), 0600);
}

Result<ReplicaRecord> read_replica_record(const std::filesystem::path& directory) {
  TRY(const std::string text, read_file(directory / kStateFile, kFileLimitBytes));
  return replica_record_from_json(text);
}

Result<> write_replica_version(const std::filesystem::path& directory, const catalog::VersionRecord& version) {
  return write_file_atomic(directory / kVersionFile, catalog::version_record_to_json(version), 0600);
}

Result<catalog::VersionRecord> read_replica_version(const std::filesystem::path& directory) {
  TRY(const std::string text, read_file(directory / kVersionFile, kFileLimitBytes));
  return catalog::version_record_from_json(text);
}

std::string machine_boot_id() {
  Result<std::string> text = read_file("/proc/sys/kernel/random/boot_id");
  if (!text) return {};
  while (!text->empty() && text->back() == '\n') text->pop_back();
  return *text;
}

uint64_t process_start_time(pid_t pid) {
  return hearth::process_start_time(pid).value_or(0);
}

}  // namespace hearth::node
