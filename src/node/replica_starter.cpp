#include "node/replica_starter.hpp"

#include "base/file.hpp"
#include "base/log.hpp"
#include "base/random_id.hpp"
#include "catalog/names.hpp"
#include "net/listen.hpp"
#include "node/json_fields.hpp"

#include <algorithm>
#include <utility>

namespace hearth::node {

namespace {

constexpr size_t kReplicaIdLength = 12;
constexpr size_t kPreloadModulesMax = 256;
constexpr uint64_t kPreloadFileLimitBytes = 64 * 1024;

double ms_since(MonoTime start) {
  return std::chrono::duration<double, std::milli>(mono_now() - start).count();
}

/// control.sock, then worker-<i>.sock: listening before anything runs, so that nobody has to try again.
Result<std::vector<UniqueFd>> make_sockets(const std::filesystem::path& directory, uint32_t slots) {
  std::vector<UniqueFd> sockets;
  TRY(UniqueFd control, net::listen_unix({.path = control_socket(directory)}));
  sockets.push_back(std::move(control));
  for (uint32_t i = 0; i < slots; ++i) {
    TRY(UniqueFd worker, net::listen_unix({.path = worker_socket(directory, i)}));
    sockets.push_back(std::move(worker));
  }
  return sockets;
}

/// File names allow neither '/' nor surprises: branches are stored as in the object store.
std::filesystem::path preload_path(const std::filesystem::path& data_dir, const ReplicaKey& key) {
  return data_dir / "preload" / key.branch.workspace / key.branch.model /
         catalog::branch_to_segment(key.branch.branch) / (std::to_string(key.version) + ".json");
}

Result<StartedReplica> launch_in(const StartOrder& order, StartedReplica started) {
  TRY(std::vector<UniqueFd> sockets, make_sockets(started.directory, started.record.slots));
  TRY_VOID(write_replica_version(started.directory, started.version));
  TRY_VOID(write_replica_record(started.directory, started.record));
  LaunchRequest request{.id = started.record.id,
                        .version = started.version,
                        .directory = started.directory,
                        .preload_imports = read_preload_list(order.data_dir, order.key),
                        .max_batch = order.max_batch,
                        .on_reached = order.on_reached,
                        .deadline = Deadline::after(mono_now(), started.version.config.timeouts.start)};
  for (const UniqueFd& socket : sockets) request.listen_fds.push_back(socket.get());
  TRY(Launched launched, order.launcher->launch(std::move(request)));
  started.record.process = launched.process;
  started.record.phase = RecordPhase::running;
  started.phases_ms.merge(launched.phases_ms);
  TRY_VOID(write_replica_record(started.directory, started.record));
  return started;
}

}  // namespace

std::filesystem::path replica_directory(const std::filesystem::path& run_dir, const std::string& id) {
  return run_dir / "replicas" / id;
}

Result<StartedReplica> start_replica(const StartOrder& order) {
  const MonoTime began = mono_now();
  StartedReplica started;
  if (order.version) {
    started.version = *order.version;
  } else {
    TRY(started.version, order.versions(order.key.branch, order.key.version));
  }
  started.phases_ms["record"] = ms_since(began);
  started.record = {.id = "r" + random_id(kReplicaIdLength),
                    .key = order.key,
                    .slots = started.version.config.resources.slots,
                    .boot_id = machine_boot_id(),
                    .started_us = to_unix_us(wall_now())};
  started.directory = replica_directory(order.run_dir, started.record.id);
  const std::string id = started.record.id;
  const std::filesystem::path directory = started.directory;
  TRY_VOID(make_directories(directory, 0711));
  Result<StartedReplica> result = launch_in(order, std::move(started));
  if (result) return result;
  if (const Result<> gone = order.launcher->destroy(id); !gone) {
    log_warning("remains of a failed start could not be removed", {{"replica", id}, {"reason", gone.error().message}});
  }
  return result;
}

std::vector<std::string> read_preload_list(const std::filesystem::path& data_dir, const ReplicaKey& key) {
  const Result<std::string> text = read_file(preload_path(data_dir, key), kPreloadFileLimitBytes);
  if (!text) return {};  // none learned yet; without it a start is only slower
  return texts_field(nlohmann::json::parse(*text, nullptr, false), "modules");
}

void write_preload_list(const std::filesystem::path& data_dir, const ReplicaKey& key,
                        const std::vector<std::string>& modules) {
  if (modules.empty() || modules.size() > kPreloadModulesMax) return;
  std::vector<std::string> sorted = modules;
  std::ranges::sort(sorted);
  std::vector<std::string> known = read_preload_list(data_dir, key);
  std::ranges::sort(known);
  if (known == sorted) return;
  const std::filesystem::path path = preload_path(data_dir, key);
  Result<> written = make_directories(path.parent_path(), 0700);
  // In the order the worker imported them: that is the order that worked.
  if (written) written = write_file_atomic(path, to_text({{"format", 1}, {"modules", modules}}), 0600);
  if (!written) log_warning("preload list not written", {{"reason", written.error().message}});
}

}  // namespace hearth::node
