// The host-side mounts and files of one jail, below its directory RUN/replicas/<id>.
#pragma once

#include "base/result.hpp"
#include "container/bundle.hpp"

#include <filesystem>
#include <string>
#include <vector>

namespace hearth::container {

/// A small file of the jail that Hearth writes: /etc/hosts, /etc/resolv.conf. Root's inside.
struct OwnFile {
  std::string target;
  std::string content;
};

/// directory/{bundle,rootfs,mounts}. The directory itself may exist; already_exists when a bundle does.
Result<> make_jail_directories(const std::filesystem::path& directory);

/// Attaches the root (directory/rootfs) and every bind (directory/mounts/<n>), id-mapped through the user namespace.
/// Consumes layers and trees.
Result<std::vector<PreparedBind>> mount_jail(ContainerSpec& spec, const std::vector<OwnFile>& files,
                                             const std::filesystem::path& directory,
                                             const UserNamespace& user_namespace);

/// Detaches every mount at or below the directory. Error when one stays.
Result<> unmount_below(const std::filesystem::path& directory);

/// unmount_below, then removes the directory with all in it. Never deletes through a mount.
Result<> remove_jail_directories(const std::filesystem::path& directory);

}  // namespace hearth::container
