#include "container/layer_stack.hpp"

#include "base/file.hpp"
#include "container/id_mapping.hpp"
#include "container/mounter_identity.hpp"
#include "container/scratch_mounts.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace hearth::container {

namespace {

constexpr size_t kLayersMax = 200;  // overlayfs takes 500; mount(2) takes 4 KiB of options

uint64_t attributes(Devices devices) {
  return devices == Devices::hidden ? uint64_t{MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID} : 0;
}

Result<> set_attributes(int mount_fd, uint64_t set, const UserNamespace& user_namespace, std::string_view what) {
  mount_attr change{};
  change.attr_set = set;
  if (user_namespace != nullptr) {
    change.attr_set |= MOUNT_ATTR_IDMAP;
    change.userns_fd = static_cast<uint64_t>(user_namespace->get());
  }
  if (::mount_setattr(mount_fd, "", AT_EMPTY_PATH, &change, sizeof change) == 0) return {};
  const int error = errno;
  if (error == EINVAL && user_namespace != nullptr) {
    return fail(ErrorCode::unavailable,
                std::string(what) +
                    ": its file system cannot be id-mapped by this kernel (ext4, xfs, btrfs and "
                    "EROFS can from Linux 5.19, tmpfs from 6.3)");
  }
  return fail_errno(what, error);
}

/// Layers that come through FUSE cannot be id-mapped: imagefs has shifted their ids already (docs/formats/imagefs.md).
bool is_fuse(int mount_fd) {
  struct statfs status{};
  return ::fstatfs(mount_fd, &status) == 0 && status.f_type == FUSE_SUPER_MAGIC;
}

/// What the kernel wrote about a failed fsconfig(2), "" when nothing.
std::string kernel_message(int context) {
  std::array<char, 1024> text{};
  const ssize_t got = ::read(context, text.data(), text.size());
  return got > 0 ? ": " + std::string(text.data(), static_cast<size_t>(got)) : "";
}

Unexpected fail_fsconfig(std::string_view what, int context, int error) {
  return fail_errno(std::string(what) + kernel_message(context), error);
}

Result<UniqueFd> open_context(const char* type) {
  UniqueFd context(::fsopen(type, FSOPEN_CLOEXEC));
  if (context) return context;
  if (errno == ENODEV) {
    return fail(ErrorCode::unavailable,
                std::string("this kernel has no ") + type + " (load it: modprobe " + type + ")");
  }
  return fail_errno(std::string("open a new ") + type, errno);
}

Result<UniqueFd> create_mount(int context, uint64_t mount_attributes, std::string_view what) {
  if (::fsconfig(context, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) return fail_fsconfig(what, context, errno);
  UniqueFd mount(::fsmount(context, FSMOUNT_CLOEXEC, static_cast<unsigned>(mount_attributes)));
  if (!mount) return fail_errno(what, errno);
  return mount;
}

// ---- The lowest layer: mount points -----------------------------------------------------------------------

enum class PointType { directory, file };

Result<> make_point(int root, const MountPoint& point, PointType type, const IdMap& ids) {
  const auto& path = point.path;
  const std::string whole = std::filesystem::path(path).relative_path().string();
  std::string made;
  for (const auto& part : std::filesystem::path(whole)) {
    if (part == "." || part == ".." || part.empty()) {
      return fail(ErrorCode::invalid_argument, "bad mount point " + path);
    }
    made += made.empty() ? part.string() : "/" + part.string();
    const bool last = made.size() == whole.size();
    if (type == PointType::directory || !last) {
      if (::mkdirat(root, made.c_str(), 0755) != 0 && errno != EEXIST) {
        return fail_errno("make mount point " + path, errno);
      }
      if (last && ::fchmodat(root, made.c_str(), point.mode, 0) != 0)
        return fail_errno("make mount point " + path, errno);
    } else {
      UniqueFd file(::openat(root, made.c_str(), O_CREAT | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0644));
      if (!file) return fail_errno("make mount point " + path, errno);
    }
    if (::fchownat(root, made.c_str(), ids.host_base, ids.host_base, AT_SYMLINK_NOFOLLOW) != 0) {
      return fail_errno("own mount point " + path, errno);
    }
  }
  return {};
}

/// A small tmpfs with the mount points, owned by root inside: no id map needed. Never attached, so nothing to clean up.
Result<UniqueFd> make_points(const StackOptions& options) {
  TRY(auto context, open_context("tmpfs"));
  ::fsconfig(context.get(), FSCONFIG_SET_STRING, "size", "1m", 0);
  ::fsconfig(context.get(), FSCONFIG_SET_STRING, "mode", "0755", 0);
  TRY(auto mount, create_mount(context.get(), attributes(Devices::hidden), "mount the tmpfs of mount points"));
  const IdMap ids = options.id_map.value_or(IdMap{.host_base = 0});
  if (::fchownat(mount.get(), "", ids.host_base, ids.host_base, AT_EMPTY_PATH) != 0)
    return fail_errno("own the tmpfs of mount points", errno);
  for (const auto& point : options.directories) TRY_VOID(make_point(mount.get(), point, PointType::directory, ids));
  for (const auto& path : options.files) TRY_VOID(make_point(mount.get(), {path}, PointType::file, ids));
  return mount;
}

// ---- The stack ----------------------------------------------------------------------------------------------

struct Stack {
  std::vector<UniqueFd> lowers;  // bottom to top, id-mapped
  UniqueFd upper_parent;         // mount that holds upper and work, id-mapped; empty when read-only
  std::string upper;             // names below upper_parent
  std::string work;
};

Result<> set_option(int context, const char* key, const char* value) {
  if (::fsconfig(context, FSCONFIG_SET_STRING, key, value, 0) == 0) return {};
  return fail_fsconfig(std::string("overlayfs option ") + key, context, errno);
}

Result<UniqueFd> open_below(int root, const std::string& name) {
  UniqueFd fd(::openat(root, name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return fail_errno("open " + name, errno);
  return fd;
}

enum class Handed { yes, refused };

Result<Handed> hand_over(int context, const char* key, int fd) {
  if (::fsconfig(context, FSCONFIG_SET_FD, key, nullptr, fd) == 0) return Handed::yes;
  if (errno == EINVAL) return Handed::refused;  // a kernel before 6.13 takes paths only
  return fail_fsconfig(std::string("overlayfs option ") + key, context, errno);
}

/// Hostile xattrs in a layer must not redirect lookups or borrow metadata: both features stay off.
constexpr const char* kRedirect = "nofollow";

/// nullopt: this kernel does not take descriptors.
Result<std::optional<UniqueFd>> overlay_by_descriptor(const Stack& stack, uint64_t mount_attributes) {
  TRY(auto context, open_context("overlay"));
  for (auto lower = stack.lowers.rbegin(); lower != stack.lowers.rend(); ++lower) {
    TRY(auto handed, hand_over(context.get(), "lowerdir+", lower->get()));
    if (handed == Handed::refused) return std::nullopt;
  }
  if (stack.upper_parent) {
    TRY(auto upper, open_below(stack.upper_parent.get(), stack.upper));
    TRY(auto work, open_below(stack.upper_parent.get(), stack.work));
    TRY(auto handed, hand_over(context.get(), "upperdir", upper.get()));
    if (handed == Handed::refused) return std::nullopt;
    TRY(handed, hand_over(context.get(), "workdir", work.get()));
    if (handed == Handed::refused) return std::nullopt;
  } else {
    ::fsconfig(context.get(), FSCONFIG_SET_FLAG, "ro", nullptr, 0);
  }
  TRY_VOID(set_option(context.get(), "redirect_dir", kRedirect));
  TRY_VOID(set_option(context.get(), "metacopy", "off"));
  TRY_VOID(set_option(context.get(), "index", "off"));
  TRY(auto mount, create_mount(context.get(), mount_attributes, "stack layers with overlayfs"));
  return std::optional<UniqueFd>(std::move(mount));
}

Result<UniqueFd> overlay_by_path(const Stack& stack, uint64_t mount_attributes, const std::filesystem::path& scratch) {
  TRY(auto mounts, ScratchMounts::open(scratch));
  std::string options = "lowerdir=";
  for (auto lower = stack.lowers.rbegin(); lower != stack.lowers.rend(); ++lower) {
    TRY(auto at, mounts.attach(lower->get()));
    if (options.back() != '=') options += ':';
    options += at.string();
  }
  if (stack.upper_parent) {
    TRY(auto at, mounts.attach(stack.upper_parent.get()));
    options += ",upperdir=" + (at / stack.upper).string() + ",workdir=" + (at / stack.work).string();
  }
  options += std::string(",redirect_dir=") + kRedirect + ",metacopy=off,index=off";
  TRY(auto at, mounts.reserve());
  const unsigned long flags = (stack.upper_parent ? 0UL : MS_RDONLY) |
                              ((mount_attributes & MOUNT_ATTR_NODEV) != 0 ? MS_NODEV | MS_NOSUID : 0UL);
  if (::mount("overlay", at.c_str(), "overlay", flags, options.c_str()) != 0) {
    return fail_errno("stack layers with overlayfs", errno);
  }
  UniqueFd mount(::open_tree(AT_FDCWD, at.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
  if (!mount) return fail_errno("detach the stacked layers", errno);
  return mount;
}

Result<UniqueFd> mount_overlay(const Stack& stack, const StackOptions& options) {
  const uint64_t mount_attributes =
      attributes(options.devices) | (stack.upper_parent ? 0 : uint64_t{MOUNT_ATTR_RDONLY});
  if (options.passing == LowerPassing::automatic) {
    TRY(auto mount, overlay_by_descriptor(stack, mount_attributes));
    if (mount) return std::move(*mount);
  }
  return overlay_by_path(stack, mount_attributes, options.scratch);
}

Result<Stack> prepare_lowers(std::vector<UniqueFd> layers, const StackOptions& options,
                             const UserNamespace& user_namespace) {
  if (layers.empty()) return fail(ErrorCode::invalid_argument, "an image without layers cannot be mounted");
  if (layers.size() > kLayersMax) {
    return fail(ErrorCode::invalid_argument, "an image of more than " + std::to_string(kLayersMax) + " layers");
  }
  Stack stack;
  if (!options.directories.empty() || !options.files.empty()) {
    TRY(auto points, make_points(options));
    stack.lowers.push_back(std::move(points));
  }
  for (auto& layer : layers) {
    TRY_VOID(set_attributes(layer.get(), attributes(options.devices) | MOUNT_ATTR_RDONLY,
                            is_fuse(layer.get()) ? nullptr : user_namespace, "prepare a layer's mount"));
    stack.lowers.push_back(std::move(layer));
  }
  return stack;
}

/// Empty without an id map.
Result<UserNamespace> user_namespace_of(const StackOptions& options) {
  if (!options.id_map || options.user_namespace) return options.user_namespace;
  return make_user_namespace(*options.id_map);
}

}  // namespace

Result<UniqueFd> stack_layers(std::vector<UniqueFd> layers, const StackOptions& options) {
  TRY(auto user_namespace, user_namespace_of(options));
  TRY(auto stack, prepare_lowers(std::move(layers), options, user_namespace));
  if (stack.lowers.size() == 1) return std::move(stack.lowers.front());
  return mount_overlay(stack, options);
}

Result<UniqueFd> stack_layers_writable(std::vector<UniqueFd> layers, const WritableLayer& writable,
                                       const StackOptions& options) {
  if (writable.upper.parent_path() != writable.work.parent_path()) {
    return fail(ErrorCode::invalid_argument, "upper and work must lie in one directory");
  }
  TRY(auto user_namespace, user_namespace_of(options));
  TRY(auto stack, prepare_lowers(std::move(layers), options, user_namespace));
  const auto parent = writable.upper.parent_path();
  stack.upper_parent = UniqueFd(::open_tree(AT_FDCWD, parent.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
  if (!stack.upper_parent) return fail_errno("open " + parent.string(), errno);
  stack.upper = writable.upper.filename();
  stack.work = writable.work.filename();
  TRY_VOID(set_attributes(stack.upper_parent.get(), attributes(options.devices), user_namespace,
                          "prepare " + parent.string()));
  if (!options.id_map) return mount_overlay(stack, options);
  // overlayfs makes its work files as the one who mounts it, and root of the host has no id in the mapped directory.
  return as_mapped_root(*options.id_map, [&stack, &options] { return mount_overlay(stack, options); });
}

Result<UniqueFd> clone_for_bind(const std::filesystem::path& source, const std::optional<IdMap>& id_map, Access access,
                                const UserNamespace& made) {
  UniqueFd clone(::open_tree(AT_FDCWD, source.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
  if (!clone) return fail_errno("bind " + source.string(), errno);
  TRY(auto user_namespace, user_namespace_of(StackOptions{.id_map = id_map, .user_namespace = made}));
  const auto write = access == Access::read_only ? MOUNT_ATTR_RDONLY : 0;
  TRY_VOID(set_attributes(clone.get(), attributes(Devices::hidden) | static_cast<uint64_t>(write), user_namespace,
                          "bind " + source.string()));
  return clone;
}

Result<> attach_mount(int mount_fd, const std::filesystem::path& at) {
  if (::move_mount(mount_fd, "", AT_FDCWD, at.c_str(), MOVE_MOUNT_F_EMPTY_PATH) == 0) return {};
  return fail_errno("mount at " + at.string(), errno);
}

Result<> detach_mount(const std::filesystem::path& at) {
  if (::umount2(at.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0 || errno == EINVAL || errno == ENOENT) return {};
  return fail_errno("unmount " + at.string(), errno);
}

bool is_mount_point(const std::filesystem::path& at) {
  struct statx here{};
  if (::statx(AT_FDCWD, at.c_str(), AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &here) != 0) return false;
  return (here.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) != 0 && (here.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

}  // namespace hearth::container
