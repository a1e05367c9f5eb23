#include "supervisor/layout.hpp"

#include "base/digest.hpp"
#include "base/file.hpp"
#include "base/quantity.hpp"

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>

namespace hearth::supervisor {

namespace {

constexpr uint64_t kDiskFreeMin = uint64_t{256} << 20;
constexpr size_t kSocketPathMax = 107;  // sun_path

/// An own folder with this owner and mode, made or put right.
Result<> owned_directory(const std::filesystem::path& path, uid_t uid, gid_t gid, mode_t mode) {
  TRY_VOID(make_directories(path, mode));
  if (::chown(path.c_str(), uid, gid) != 0) return fail_errno("give " + path.string() + " to its user", errno);
  if (::chmod(path.c_str(), mode) != 0) return fail_errno("chmod " + path.string(), errno);
  return {};
}

Result<> check_disk(const std::filesystem::path& path) {
  struct statvfs disk{};
  if (::statvfs(path.c_str(), &disk) != 0) return fail_errno("look at the disk of " + path.string(), errno);
  const uint64_t free_bytes = uint64_t{disk.f_bavail} * disk.f_frsize;
  if (free_bytes < kDiskFreeMin) {
    return fail(ErrorCode::exhausted, "the disk of " + path.string() + " is full (" + format_bytes(free_bytes) +
                                          " left, 256 MiB needed): make room, or choose another --data-dir");
  }
  return {};
}

Result<> link_to(const std::filesystem::path& target, const std::filesystem::path& link) {
  std::error_code error;
  if (std::filesystem::read_symlink(link, error) == target) return {};
  std::filesystem::remove(link, error);
  if (::symlink(target.c_str(), link.c_str()) != 0) return fail_errno("make the link " + link.string(), errno);
  return {};
}

}  // namespace

Layout locate(const std::filesystem::path& data_dir) {
  std::error_code error;
  std::filesystem::path data = std::filesystem::weakly_canonical(std::filesystem::absolute(data_dir), error);
  if (error) data = std::filesystem::absolute(data_dir).lexically_normal();
  if (!data.has_filename()) data = data.parent_path();  // "/srv/hearth/" is "/srv/hearth"
  return {data, std::filesystem::path("/run/hearth") / Digest::of(data.string()).hex().substr(0, 12)};
}

Result<> prepare(const Layout& layout, const Users& users) {
  if (layout.data.string().size() > PATH_MAX / 2) {
    return fail(ErrorCode::invalid_argument, "the path of --data-dir is too long");
  }
  // The longest socket name: RUN/replicas/<replica id>/worker-<i>.sock
  if (layout.run.string().size() + 48 > kSocketPathMax) {
    return fail(ErrorCode::invalid_argument, layout.run.string() + " leaves no room for socket names");
  }
  if (auto made = make_directories(layout.data); !made) {
    return fail(made.error().code, "cannot use --data-dir: " + made.error().message);
  }
  std::error_code error;
  if (!std::filesystem::is_directory(layout.data, error)) {
    return fail(ErrorCode::invalid_argument,
                "--data-dir " + layout.data.string() + " is not a folder: name another one");
  }
  TRY_VOID(check_disk(layout.data));
  TRY_VOID(owned_directory("/run/hearth", 0, 0, 0755));
  TRY_VOID(owned_directory(layout.run, 0, 0, 0711));
  TRY_VOID(owned_directory(layout.run / "redis", users.redis(), users.group(), 0710));
  TRY_VOID(owned_directory(layout.data / "imagefs", 0, 0, 0700));
  TRY_VOID(owned_directory(layout.data / "node", 0, 0, 0700));
  TRY_VOID(owned_directory(layout.data / "logs", 0, 0, 0750));
  TRY_VOID(owned_directory(layout.data / "router", users.router, users.group(), 0700));
  TRY_VOID(link_to("redis/redis.sock", layout.socket("redis")));
  return link_to(layout.run, layout.data / "run");  // for people who look around
}

Result<> prepare_store(const std::filesystem::path& store, const Users& users) {
  std::error_code error;
  if (!std::filesystem::exists(store, error) || std::filesystem::is_empty(store, error)) {
    return owned_directory(store, users.router, users.group(), 0750);
  }
  struct stat info{};
  if (::stat(store.c_str(), &info) != 0) return fail_errno("look at --store " + store.string(), errno);
  if (!S_ISDIR(info.st_mode)) return fail(ErrorCode::invalid_argument, "--store " + store.string() + " is no folder");
  if (info.st_uid == users.router) return {};
  return fail(ErrorCode::denied, "the store " + store.string() + " belongs to user " + std::to_string(info.st_uid) +
                                     ", the router runs as " + std::to_string(users.router) +
                                     ": give it over with 'chown -R " + std::to_string(users.router) + " " +
                                     store.string() + "', or use --router-uid " + std::to_string(info.st_uid));
}

bool can_traverse(const std::filesystem::path& path, uid_t uid, gid_t gid) {
  for (std::filesystem::path at = path.parent_path();; at = at.parent_path()) {
    struct stat info{};
    if (::stat(at.c_str(), &info) != 0) return false;
    const mode_t needed = info.st_uid == uid ? S_IXUSR : info.st_gid == gid ? S_IXGRP : S_IXOTH;
    if ((info.st_mode & needed) == 0) return false;
    if (at == at.parent_path()) return true;
  }
}

}  // namespace hearth::supervisor
