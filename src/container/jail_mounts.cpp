#include "container/jail_mounts.hpp"

#include "base/file.hpp"
#include "container/scratch_mounts.hpp"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <string_view>
#include <utility>

namespace hearth::container {

namespace {

namespace fs = std::filesystem;

enum class NodeType { directory, file };

Result<NodeType> type_of(int fd, std::string_view what) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) return fail_errno(what, errno);
  return S_ISDIR(status.st_mode) ? NodeType::directory : NodeType::file;
}

/// A path inside a tree, resolved as if the tree were the root: links in an artifact cannot lead out of it.
Result<UniqueFd> open_inside(int tree, const fs::path& path) {
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  const std::string relative = path.empty() ? "." : path.string();
  UniqueFd fd(static_cast<int>(::syscall(SYS_openat2, tree, relative.c_str(), &how, sizeof how)));
  if (!fd) return fail_errno("find " + relative + " in its layer", errno);
  return fd;
}

Result<UniqueFd> clone_of(int fd) {
  UniqueFd clone(::open_tree(fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH));
  if (!clone) return fail_errno("clone a mount", errno);
  return clone;
}

/// The part of a detached tree that a bind shows, as a mount of its own.
Result<UniqueFd> subtree(UniqueFd tree, const fs::path& path, const ContainerSpec& spec,
                         const UserNamespace& user_namespace) {
  std::vector<UniqueFd> one;
  one.push_back(std::move(tree));
  TRY(auto mapped, stack_layers(std::move(one), {.id_map = spec.ids, .user_namespace = user_namespace}));
  if (path.empty() || path == "." || path == "/") return mapped;
  {
    TRY(const auto inside, open_inside(mapped.get(), path));
    auto clone = clone_of(inside.get());
    if (clone) return clone;
  }
  // Before Linux 6.15 only what is attached can be cloned.
  TRY(auto scratch, ScratchMounts::open("/run"));
  TRY(const auto at, scratch.attach(mapped.get()));
  TRY(const auto root, open_file(at, O_PATH | O_DIRECTORY));
  TRY(const auto inside, open_inside(root.get(), path));
  return clone_of(inside.get());
}

/// Attaches at directory/mounts/<number>, a directory or an empty file made for it.
Result<fs::path> attach_numbered(int mount, size_t number, const fs::path& directory) {
  auto at = directory / "mounts" / std::to_string(number);
  TRY(const auto type, type_of(mount, "look at a bind's source"));
  if (type == NodeType::directory) {
    if (::mkdir(at.c_str(), 0700) != 0) return fail_errno("make " + at.string(), errno);
  } else {
    TRY_VOID(open_file(at, O_CREAT | O_EXCL | O_WRONLY, 0600));
  }
  TRY_VOID(attach_mount(mount, at));
  return at;
}

Result<fs::path> write_own_file(const OwnFile& file, size_t number, const fs::path& directory, const IdMap& ids) {
  auto at = directory / "mounts" / std::to_string(number);
  TRY(const auto fd, open_file(at, O_CREAT | O_EXCL | O_WRONLY, 0644));
  TRY_VOID(write_all(fd.get(), file.content, file.target));
  if (::fchmod(fd.get(), 0644) != 0 || ::fchown(fd.get(), ids.host_base, ids.host_base) != 0) {
    return fail_errno("own " + at.string(), errno);
  }
  return at;
}

bool lies_below(const std::string& path, const std::string& directory) {
  return path == directory || path.starts_with(directory + "/");
}

/// Targets on a tmpfs of the jail are made there by the runtime; all others must exist in the read-only root.
bool on_tmpfs(const std::string& target, const ContainerSpec& spec) {
  for (const auto& point : mount_points(spec)) {
    if (lies_below(target, point.path)) return true;
  }
  return false;
}

Result<UniqueFd> make_root(ContainerSpec& spec, const std::vector<std::pair<std::string, NodeType>>& targets,
                           const fs::path& directory, const UserNamespace& user_namespace) {
  StackOptions options{.id_map = spec.ids,
                       .user_namespace = user_namespace,
                       .directories = mount_points(spec),
                       .scratch = directory.parent_path()};
  for (const auto& [target, type] : targets) {
    if (on_tmpfs(target, spec)) continue;
    if (type == NodeType::directory) {
      options.directories.push_back({target});
    } else {
      options.files.push_back(target);
    }
  }
  if (spec.writable) return stack_layers_writable(std::move(spec.layers), *spec.writable, options);
  return stack_layers(std::move(spec.layers), options);
}

std::string unescape_mountinfo(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      result += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      result += text[i];
    }
  }
  return result;
}

/// Mount points at or below the directory, in the order they were mounted.
Result<std::vector<std::string>> mounts_below(const fs::path& directory) {
  std::error_code error;
  const std::string real = fs::weakly_canonical(directory, error).string();
  TRY(const auto text, read_file("/proc/self/mountinfo"));
  std::vector<std::string> points;
  std::string_view rest = text;
  while (!rest.empty()) {
    auto line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    for (int field = 0; field < 4; ++field) line.remove_prefix(std::min(line.size(), line.find(' ') + 1));
    const auto point = unescape_mountinfo(line.substr(0, line.find(' ')));
    if (lies_below(point, real)) points.push_back(point);
  }
  return points;
}

}  // namespace

Result<> make_jail_directories(const fs::path& directory) {
  TRY_VOID(make_directories(directory, 0711));
  for (const char* name : {"bundle", "rootfs", "mounts"}) {
    const auto path = directory / name;
    const mode_t mode = std::string_view(name) == "bundle" ? 0700 : 0711;
    if (::mkdir(path.c_str(), mode) == 0) continue;
    if (errno == EEXIST)
      return fail(ErrorCode::already_exists, "a container lives in " + directory.string() + " already");
    return fail_errno("make " + path.string(), errno);
  }
  return {};
}

Result<std::vector<PreparedBind>> mount_jail(ContainerSpec& spec, const std::vector<OwnFile>& files,
                                             const fs::path& directory, const UserNamespace& user_namespace) {
  std::vector<PreparedBind> binds;
  std::vector<std::pair<std::string, NodeType>> targets;
  for (const auto& file : files) {
    TRY(auto at, write_own_file(file, binds.size(), directory, spec.ids));
    targets.emplace_back(file.target, NodeType::file);
    binds.push_back({std::move(at), file.target});
  }
  for (auto& bind : spec.binds) {
    UniqueFd mount;
    if (bind.tree) {
      TRY(mount, subtree(std::move(bind.tree), bind.source, spec, user_namespace));
    } else {
      TRY(mount, clone_for_bind(bind.source, spec.ids, bind.access, user_namespace));
    }
    TRY(const auto type, type_of(mount.get(), bind.target));
    TRY(auto at, attach_numbered(mount.get(), binds.size(), directory));
    targets.emplace_back(bind.target, type);
    binds.push_back({std::move(at), bind.target, bind.access});
  }
  TRY(const auto root, make_root(spec, targets, directory, user_namespace));
  TRY_VOID(attach_mount(root.get(), directory / "rootfs"));
  return binds;
}

Result<> unmount_below(const fs::path& directory) {
  TRY(auto points, mounts_below(directory));
  for (auto point = points.rbegin(); point != points.rend(); ++point) TRY_VOID(detach_mount(*point));
  if (points.empty()) return {};
  TRY(points, mounts_below(directory));
  if (points.empty()) return {};
  return fail(ErrorCode::internal, points.front() + " stays mounted");
}

Result<> remove_jail_directories(const fs::path& directory) {
  TRY_VOID(unmount_below(directory));
  std::error_code error;
  fs::remove_all(directory, error);
  if (error) return fail_errno("remove " + directory.string(), error.value());
  return {};
}

}  // namespace hearth::container
