// Replicas as OCI containers: layers from imagefs, stacked and started by src/container through the holder.
#pragma once

#include "container/container.hpp"
#include "holder/client.hpp"
#include "mount/imagefs_client.hpp"
#include "node/launcher.hpp"

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace hearth::node {

struct ContainerLauncherConfig {
  std::filesystem::path run_dir;  // RUN
  std::filesystem::path imagefs;  // its socket
  std::filesystem::path runner_dir;
  uint32_t id_base = 0;  // 65,536 host ids from here are the replicas'
};

class ContainerLauncher final : public ReplicaLauncher {
 public:
  ContainerLauncher(ContainerLauncherConfig config, container::ContainerRuntime runtime,
                    std::shared_ptr<holder::Client> holder);

  Result<Launched> launch(LaunchRequest request) override;
  void start_is_over(const catalog::VersionRecord& version) override;
  std::vector<LayerTrace> traces(const catalog::VersionRecord& version) override;
  Result<> destroy(const std::string& id) override;
  Result<> freeze(const ReplicaProcess& process) override;
  Result<> thaw(const ReplicaProcess& process) override;
  uint64_t oom_kills(const ReplicaProcess& process) override;
  std::optional<ProcessEnd> how_it_ended(const std::string& id, const ReplicaProcess& process) override;
  bool is_running(const ReplicaProcess& process) override;
  Result<std::vector<std::string>> list() override;

 private:
  struct Layers {
    std::vector<UniqueFd> stack;      // bottom to top
    std::vector<UniqueFd> artifacts;  // in the order of the image's
  };
  Result<Layers> fetch(const LaunchRequest& request) const;
  container::ContainerSpec describe(const LaunchRequest& request, Layers layers, int output_fd) const;

  const ContainerLauncherConfig config_;
  container::ContainerRuntime runtime_;
  const std::shared_ptr<holder::Client> holder_;
  const mount::ImagefsClient imagefs_;
};

}  // namespace hearth::node
