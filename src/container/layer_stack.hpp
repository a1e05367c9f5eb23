// Stacks layers into one root file system: id-mapped, nodev, nosuid lower mounts under a read-only overlay.
#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace hearth::container {

/// Ids 0 … count-1 inside are host_base … host_base+count-1 on the host.
struct IdMap {
  uint32_t host_base = 0;
  uint32_t count = 65536;
};

enum class Devices { hidden, visible };  // hidden: nodev and nosuid

/// How lower mounts reach overlayfs: by descriptor (Linux 6.13), else attached for a moment below `scratch`.
enum class LowerPassing { automatic, attached };

struct MountPoint {
  std::string path;
  mode_t mode = 0755;  // of a directory that the layers do not bring
};

/// A user namespace made for one id map (id_mapping.hpp). Making one costs a process: who stacks often keeps it.
using UserNamespace = std::shared_ptr<const UniqueFd>;

struct StackOptions {
  std::optional<IdMap> id_map;   // none: ids as in the image
  UserNamespace user_namespace;  // of id_map; made for the call when empty
  Devices devices = Devices::hidden;
  std::vector<MountPoint> directories;  // mount points that must exist ("/tmp"); made in an own lowest layer
  std::vector<std::string> files;       // likewise, as empty files ("/etc/resolv.conf")
  std::filesystem::path scratch = "/run";
  LowerPassing passing = LowerPassing::automatic;
};

/// What a writable stack writes to. Ids on disk are as inside: root's file is owned by 0.
struct WritableLayer {
  std::filesystem::path
      upper;  // both on one file system that can be id-mapped (ext4, xfs, btrfs), not tmpfs before 6.3
  std::filesystem::path work;
};

/// One read-only mount over the layers (bottom to top), detached: attach_mount shows it somewhere, closing it drops it.
/// The layers' descriptors are detached mounts, as imagefs gives them, and are consumed. A single layer without
/// missing directories needs no overlay. Needs root. Errors: unavailable (names the kernel feature that is missing).
Result<UniqueFd> stack_layers(std::vector<UniqueFd> layers, const StackOptions& options = {});

/// The same with a writable layer on top, for building images.
Result<UniqueFd> stack_layers_writable(std::vector<UniqueFd> layers, const WritableLayer& writable,
                                       const StackOptions& options = {});

enum class Access { read_only, read_write };

/// A detached nodev, nosuid clone of a host file or folder, optionally id-mapped: what is bound into a jail.
Result<UniqueFd> clone_for_bind(const std::filesystem::path& source, const std::optional<IdMap>& id_map,
                                Access access = Access::read_only, const UserNamespace& user_namespace = nullptr);

/// Attaches a detached mount at an existing directory (or file, for a file's mount). The descriptor stays valid.
Result<> attach_mount(int mount_fd, const std::filesystem::path& at);
/// Detaches whatever is mounted at the path, lazily; success when nothing is.
Result<> detach_mount(const std::filesystem::path& at);
/// True when the path is the root of a mount.
bool is_mount_point(const std::filesystem::path& at);

}  // namespace hearth::container
