// ContainerSpec → the OCI runtime document config.json.
#pragma once

#include "container/container.hpp"

#include <filesystem>
#include <string>
#include <vector>

namespace hearth::container {

/// A bind mount whose source is attached on the host.
struct PreparedBind {
  std::filesystem::path source;
  std::string target;
  Access access = Access::read_only;
};

/// What of the machine a bundle depends on.
struct BundleContext {
  std::filesystem::path rootfs;  // where the stack is attached
  std::vector<PreparedBind> binds;
  std::string cgroup;                  // absolute path in the hierarchy
  std::filesystem::path network_hook;  // shell script, empty without network
  uint64_t open_files_max = 1024;      // hard limit of the machine or session: raising it may not be allowed
  enum class SwapLimit { available, missing } swap_limit = SwapLimit::available;
};

/// Refuses what would make a jail unsafe or a runtime stumble: empty argv, host_base 0, bad ids and paths.
Result<> validate(const ContainerSpec& spec);

/// Directories that must exist in the root for the standard mounts and the spec's home. runc gives a tmpfs the mode of
/// the directory below it, so modes matter.
std::vector<MountPoint> mount_points(const ContainerSpec& spec);

/// The document as JSON text.
std::string make_config(const ContainerSpec& spec, const BundleContext& context);

}  // namespace hearth::container
