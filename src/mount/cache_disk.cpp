#include "mount/cache_disk.hpp"

#include "base/file.hpp"
#include "base/log.hpp"
#include "base/outside_time.hpp"
#include "mount/present_map.hpp"
#include "mount/unused_file.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <system_error>
#include <unordered_map>
#include <vector>

namespace hearth::mount {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kDraftMark = ".tmp-";  // anywhere in the name of a file that is being made

struct FileFacts {
  uint64_t bytes = 0;
  WallTime modified;
};

std::optional<FileFacts> facts_of(const fs::path& path) {
  struct stat info{};
  if (::lstat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return std::nullopt;
  return FileFacts{static_cast<uint64_t>(info.st_blocks) * 512, wall_at(seconds(info.st_mtim.tv_sec))};
}

/// The digest a file is named for, if that is what its name says.
std::optional<Digest> digest_of(const fs::path& path) {
  auto parsed = Digest::parse(path.filename().string().substr(0, 2 * Digest::kSize));
  if (!parsed) return std::nullopt;
  return *parsed;
}

WallTime last_used(const fs::path& present, WallTime otherwise) {
  const auto bytes = read_file(present, uint64_t{1} << 20);
  if (!bytes || !decode_present_header(*bytes)) return otherwise;
  return decode_last_used(*bytes);
}

void remove_leftover(const fs::path& path) {
  log_info("removing a half-made file of the cache", {{"file", path.string()}});
  if (::unlink(path.c_str()) != 0) log_warning("a half-made file of the cache stays", {{"file", path.string()}});
}

/// visit(path) for each regular file in the folders of a folder; drafts are removed.
Result<> for_each_file(const fs::path& folder, const std::function<void(const fs::path&)>& visit) {
  std::error_code error;
  std::vector<fs::path> files;
  for (const auto& inner : fs::directory_iterator(folder, error)) {
    if (!inner.is_directory(error)) continue;
    for (const auto& file : fs::directory_iterator(inner.path(), error)) files.push_back(file.path());
  }
  if (error) return fail_errno("list " + folder.string(), error.value());
  for (const auto& file : files) {
    if (file.filename().string().find(kDraftMark) != std::string::npos) {
      remove_leftover(file);
    } else {
      visit(file);
    }
  }
  return {};
}

}  // namespace

Result<CacheDisk> CacheDisk::open(const fs::path& dir) {
  TRY_VOID(make_directories(dir, 0700));
  TRY_VOID(make_directories(dir / "packs", 0700));
  TRY_VOID(make_directories(dir / "layers", 0700));
  TRY(auto lock, open_file(dir / "cache.lock", O_RDWR | O_CREAT, 0600));
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    return fail(ErrorCode::denied, "another process uses the cache in " + dir.string());
  }
  return CacheDisk(dir, std::move(lock));
}

Result<> CacheDisk::make_folder(const fs::path& path) {
  return make_directories(path.parent_path(), 0700);
}

Result<> CacheDisk::scan(const std::function<void(const Found&)>& found) const {
  TRY_VOID(for_each_file(dir_ / "packs", [&](const fs::path& path) {
    const auto digest = digest_of(path);
    const auto facts = facts_of(path);
    if (!digest || !facts) {
      log_warning("a file in the cache is not ours", {{"file", path.string()}});
      return;
    }
    if (path == present_path(*digest)) {
      if (!facts_of(data_path(*digest))) remove_leftover(path);
      return;
    }
    if (path != data_path(*digest)) return;
    const auto present = facts_of(present_path(*digest));
    found({.kind = Found::Kind::pack,
           .digest = *digest,
           .bytes = facts->bytes + (present ? present->bytes : 0),
           .last_used = last_used(present_path(*digest), facts->modified)});
  }));
  return for_each_file(dir_ / "layers", [&](const fs::path& path) {
    const auto digest = digest_of(path);
    const auto facts = facts_of(path);
    if (digest && facts) {
      found({.kind = Found::Kind::layer, .digest = *digest, .bytes = facts->bytes, .last_used = facts->modified});
    }
  });
}

Result<CacheDisk::Space> CacheDisk::space() const {
  struct statvfs facts{};
  if (::statvfs(dir_.c_str(), &facts) != 0) return fail_errno("look at the space of " + dir_.string(), errno);
  return Space{uint64_t{facts.f_bavail} * facts.f_frsize, uint64_t{facts.f_blocks} * facts.f_frsize};
}

void CacheDisk::for_each_layer_file(const Digest& layer, const std::function<void(const fs::path&)>& visit) const {
  std::error_code ignored;  // no folder: no files
  const auto folder = layer_path(layer, "x").parent_path();
  for (const auto& file : fs::directory_iterator(folder, ignored)) {
    if (file.path().filename().string().starts_with(layer.hex() + ".")) visit(file.path());
  }
}

uint64_t CacheDisk::layer_bytes(const Digest& layer) const {
  uint64_t total = 0;
  for_each_layer_file(layer, [&total](const fs::path& path) {
    if (const auto facts = facts_of(path)) total += facts->bytes;
  });
  return total;
}

void CacheDisk::touch_layer(const Digest& layer) const {
  for_each_layer_file(layer, [](const fs::path& path) {
    if (::utimensat(AT_FDCWD, path.c_str(), nullptr, AT_SYMLINK_NOFOLLOW) != 0) {
      log_warning("the time of last use was not written down", {{"file", path.string()}});
    }
  });
}

Result<> CacheDisk::remove_layer(const Digest& layer) const {
  std::vector<fs::path> files;
  for_each_layer_file(layer, [&files](const fs::path& path) { files.push_back(path); });
  std::vector<UniqueFd> proofs;
  for (const auto& file : files) {
    TRY(auto proof, prove_unused(file));
    proofs.push_back(std::move(proof));
  }
  for (const auto& file : files) {
    if (::unlink(file.c_str()) != 0) return fail_errno("remove " + file.string(), errno);
  }
  return {};
}

/// The data file decides: while it is mounted or held, nothing is touched. It goes last, so that a bitmap never stands
/// beside a file it does not speak of.
Result<> CacheDisk::remove_pack(const Digest& pack) const {
  const auto proof = prove_unused(data_path(pack));
  if (!proof && proof.error().code != ErrorCode::not_found) return Unexpected(proof.error());
  for (const auto& path : {present_path(pack), data_path(pack)}) {
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) return fail_errno("remove " + path.string(), errno);
  }
  return {};
}

}  // namespace hearth::mount
