#include "node/run.hpp"

#include "base/file.hpp"
#include "base/log.hpp"
#include "blob/object_store.hpp"
#include "build/builder.hpp"
#include "catalog/catalog.hpp"
#include "container/holder_spawner.hpp"
#include "fleet/fleet_publisher.hpp"
#include "mount/imagefs_client.hpp"
#include "node/build_calls.hpp"
#include "node/container_launcher.hpp"
#include "node/group_keeper.hpp"
#include "node/image_calls.hpp"
#include "node/json_fields.hpp"
#include "node/node.hpp"
#include "node/store_calls.hpp"
#include "node/store_care.hpp"

#include <unistd.h>

#include <csignal>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

namespace hearth::node {

namespace {

constexpr size_t kPoolThreads = 6;
constexpr uint32_t kIdsPerPurpose = 65536;
constexpr size_t kCallThreads = 2;   // builds at once
constexpr size_t kStoreThreads = 2;  // calls about the object store at once
constexpr Duration kMetricsPatience = seconds(1);
constexpr Duration kGroupEvery = seconds(5);

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? std::string(name) : std::string("local");
}

/// Beside the installed program, or in the source tree whose build folder holds it.
Result<std::filesystem::path> find_runner(const std::filesystem::path& given) {
  if (!given.empty()) {
    if (std::filesystem::exists(given / "main.py")) return given;
    return fail(ErrorCode::not_found, "no runner in " + given.string() + " (--runner-dir)");
  }
  std::error_code error;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  for (const char* where : {"../share/hearth/runner", "../runner", "runner"}) {
    std::filesystem::path candidate = (program / where).lexically_normal();
    if (std::filesystem::exists(candidate / "main.py", error)) return candidate;
  }
  return fail(ErrorCode::not_found,
              "the Python runner is not beside " + program.string() + ": name it by --runner-dir");
}

/// Everything that outlives the Node. The pools end first, and finish what is queued with what stands before them.
struct Process {
  std::shared_ptr<catalog::Catalog> catalog;
  std::unique_ptr<ContainerLauncher> launcher;
  std::shared_ptr<build::Builder> builder;
  std::map<std::string, BlockingCall> calls;
  std::shared_ptr<GroupKeeper> group;
  std::shared_ptr<StoreCare> care;
  net::EventLoop loop;
  net::BlockingPool pool{loop, kPoolThreads};
  net::BlockingPool call_pool{loop, kCallThreads};
  net::BlockingPool store_pool{loop, kStoreThreads};
  std::unique_ptr<fleet::FleetPublisher> publisher;
};

/// "metrics" {} → {"text"}: imagefs's, in the Prometheus text format; empty while it cannot be asked.
BlockingCall metrics_call(const std::filesystem::path& imagefs) {
  return [client = mount::ImagefsClient(imagefs)](const std::string&, const CallControl&) -> Result<std::string> {
    const auto text = client.metrics(Deadline::after(mono_now(), kMetricsPatience));
    return to_text({{"text", text.value_or("")}});
  };
}

/// Build containers are no replicas: they live in a folder and an id range of their own.
Result<> open_builder(const Config& config, Process& process, std::shared_ptr<blob::ObjectStore> store,
                      const std::shared_ptr<holder::Client>& client) {
  const std::filesystem::path run_dir = config.run_dir / "build";
  TRY_VOID(make_directories(run_dir, 0711));
  TRY(container::ContainerRuntime runtime,
      container::ContainerRuntime::open({.runtime = config.runtime,
                                         .run_dir = run_dir,
                                         .cgroup_parent = "/hearth/" + config.run_dir.filename().string() + "-build"},
                                        std::make_shared<container::HolderSpawner>(client)));
  build::BuilderConfig builder;
  builder.store = std::move(store);
  const uint32_t id_base = config.id_base + kIdsPerPurpose;
  builder.mount_layer = [imagefs = mount::ImagefsClient(config.imagefs), id_base](const std::string& workspace,
                                                                                  const Digest& digest) {
    return imagefs.layer({.workspace = workspace, .digest = digest, .id_base = id_base});
  };
  builder.runtime = std::make_shared<container::ContainerRuntime>(std::move(runtime));
  builder.directory = config.dir;
  builder.node_id = config.node_id.empty() ? host_name() : config.node_id;
  builder.ids = {.host_base = id_base};
  TRY(process.builder, build::Builder::open(std::move(builder)));
  return {};
}

Result<> open_parts(const Config& config, Process& process) {
  TRY(std::filesystem::path runner, find_runner(config.runner_dir));
  TRY(auto store, blob::open_store(config.store));
  process.catalog = std::make_shared<catalog::Catalog>(store);
  process.care = std::make_shared<StoreCare>(store);
  TRY_VOID(make_directories(config.dir, 0711));
  auto client = std::make_shared<holder::Client>(config.holder);
  TRY(container::ContainerRuntime runtime,
      container::ContainerRuntime::open({.runtime = config.runtime,
                                         .run_dir = config.run_dir,
                                         .cgroup_parent = "/hearth/" + config.run_dir.filename().string()},
                                        std::make_shared<container::HolderSpawner>(client)));
  process.launcher = std::make_unique<ContainerLauncher>(
      ContainerLauncherConfig{config.run_dir, config.imagefs, std::move(runner), config.id_base}, std::move(runtime),
      client);
  process.group = std::make_shared<GroupKeeper>(client);
  process.group->refresh();
  TRY_VOID(open_builder(config, process, store, client));
  process.calls = build_calls(process.builder);
  process.calls.merge(image_calls(std::move(store)));
  process.calls["metrics"] = metrics_call(config.imagefs);
  return {};
}

uint64_t machine_memory() {
  return static_cast<uint64_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

/// Routers are told only when the replicas are gone too; a node that comes back at once is not worth the news.
void leave(Process& process, AfterStop after) {
  if (process.publisher == nullptr || after == AfterStop::replicas_stay) return process.loop.stop();
  process.publisher->withdraw([&process] { process.loop.stop(); });
}

fleet::NodeAnnouncement announcement(const Config& config, const std::string& node_id, uint64_t generation,
                                     const Node& node) {
  fleet::NodeAnnouncement news{
      .node_id = node_id,
      .address = config.socket,
      .capacity = {.cpu = static_cast<double>(std::thread::hardware_concurrency()), .memory_bytes = machine_memory()},
      .generation = generation};
  for (const auto& [key, replica] : node.replicas()) {
    if (!policy::has_process(replica->state())) continue;
    news.replicas.push_back({.workspace = key.branch.workspace,
                             .model = key.branch.model,
                             .branch = key.branch.branch,
                             .version = key.version,
                             .state = std::string(policy::to_string(replica->state())),
                             .slots = replica->slots()});
  }
  return news;
}

}  // namespace

Result<> run(const Config& config) {
  Process process;
  TRY_VOID(open_parts(config, process));
  const std::string node_id = config.node_id.empty() ? host_name() : config.node_id;
  NodeOptions options{.id = node_id,
                      .socket = config.socket,
                      .run_dir = config.run_dir,
                      .data_dir = config.dir,
                      .router_gid = config.router_gid,
                      .start_permits = config.start_permits,
                      .calls = process.calls,
                      .store_calls = store_calls(process.care),
                      .store_pool = &process.store_pool};
  std::function<void()> publish;
  options.on_change = [&publish] {
    if (publish) publish();
  };
  Node node({process.loop, process.pool, process.call_pool, *process.launcher,
             [catalog = process.catalog](const catalog::BranchRef& branch, uint32_t version) {
               return catalog->version(branch, version);
             }},
            std::move(options));
  TRY_VOID(node.start());
  if (!config.redis.empty()) {
    process.publisher =
        std::make_unique<fleet::FleetPublisher>(process.loop, redis::RedisOptions{.address = config.redis});
    const auto generation = static_cast<uint64_t>(to_unix_us(wall_now()));
    publish = [&process, &config, &node, node_id, generation] {
      process.publisher->announce(announcement(config, node_id, generation, node));
    };
    publish();
  }
  const auto timer = process.loop.call_every(
      kGroupEvery, [&process] { process.pool.submit([group = process.group] { group->refresh(); }); });
  process.loop.on_signals({SIGTERM, SIGINT, SIGUSR1}, [&node, &process, keep = config.keep_replicas](int number) {
    const AfterStop after = number == SIGUSR1 || keep ? AfterStop::replicas_stay : AfterStop::replicas_stop;
    node.stop(after, [&process, after] { leave(process, after); });
  });
  std::optional<RegularCollection> collection;
  if (config.gc_every > Duration::zero()) collection.emplace(process.care, config.gc_every, config.gc_grace);
  log_info("node serves", {{"socket", config.socket.string()}, {"id", node_id}});
  process.loop.run();
  return {};
}

}  // namespace hearth::node
