#include "build/upload_manifest.hpp"

#include "base/file.hpp"
#include "base/little_endian.hpp"
#include "blob/object_store.hpp"
#include "catalog/store_keys.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <set>

namespace hearth::build {
namespace {

using nlohmann::json;

constexpr size_t kEntriesMax = 1'000'000;
constexpr uint64_t kPartMax = 4u << 20;
constexpr size_t kPathMax = 4'000;
constexpr int64_t kNsPerSecond = 1'000'000'000;

Unexpected refuse(std::string_view path, std::string_view why) {
  return fail(ErrorCode::invalid_argument, fmt::format("uploaded entry \"{}\": {}", path.substr(0, 200), why));
}

bool is_clean_path(std::string_view path) {
  if (path.empty() || path.size() > kPathMax || path.contains('\0')) return false;
  while (true) {
    const size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    if (part.empty() || part == "." || part == ".." || part.size() > 255) return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

std::string text(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

template <class Number>
Number number(const json& object, const char* key, Number absent) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number_integer() ? found->get<Number>() : absent;
}

Result<ManifestEntry> parse_entry(const json& value) {
  if (!value.is_object()) return refuse("?", "is not an object");
  ManifestEntry entry;
  entry.path = text(value, "path");
  if (!is_clean_path(entry.path)) return refuse(entry.path, "the path must be relative, without \"..\"");
  const std::string type = text(value, "type");
  entry.mode = number<uint32_t>(value, "mode", type == "dir" ? 0755 : 0644) & 0777;
  entry.mtime_ns = number<int64_t>(value, "mtime_ns", 0);
  if (type == "dir") {
    entry.type = EntryType::directory;
    return entry;
  }
  if (type == "symlink") {
    entry.type = EntryType::symlink;
    entry.target = text(value, "target");
    if (entry.target.empty() || entry.target.size() > kPathMax || entry.target.contains('\0')) {
      return refuse(entry.path, "a symlink needs a target");
    }
    return entry;
  }
  if (type != "file") return refuse(entry.path, "must be a file, a symlink or a folder");
  entry.size = number<uint64_t>(value, "size", 0);
  const auto parts = value.find("parts");
  if (parts == value.end() || !parts->is_array()) return refuse(entry.path, "has no list of parts");
  for (const json& part : *parts) {
    if (!part.is_string()) return refuse(entry.path, "has a part that is no digest");
    auto digest = Digest::parse(part.get_ref<const std::string&>());
    if (!digest) return refuse(entry.path, "has a part that is no digest");
    entry.parts.push_back(*digest);
  }
  if (entry.size > entry.parts.size() * kPartMax) return refuse(entry.path, "is larger than its parts");
  return entry;
}

/// What lies below a file or symlink would be written through it.
Result<> check_tree(const Manifest& manifest) {
  std::set<std::string_view> leaves;
  std::set<std::string_view> seen;
  for (const ManifestEntry& entry : manifest) {
    if (!seen.insert(entry.path).second) return refuse(entry.path, "is named twice");
    if (entry.type != EntryType::directory) leaves.insert(entry.path);
  }
  for (const ManifestEntry& entry : manifest) {
    for (size_t at = entry.path.find('/'); at != std::string::npos; at = entry.path.find('/', at + 1)) {
      if (leaves.contains(std::string_view(entry.path).substr(0, at))) {
        return refuse(entry.path, "lies below something that is no folder");
      }
    }
  }
  return {};
}

timespec to_timespec(int64_t ns) {
  int64_t whole = ns / kNsPerSecond;
  int64_t fraction = ns % kNsPerSecond;
  if (fraction < 0) {
    fraction += kNsPerSecond;
    --whole;
  }
  return {.tv_sec = whole, .tv_nsec = fraction};
}

Result<> set_time(const std::filesystem::path& path, int64_t mtime_ns) {
  const timespec time = to_timespec(mtime_ns);
  const timespec times[2] = {time, time};
  if (::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW) == 0) return {};
  return fail_errno("set the time of " + path.string(), errno);
}

Result<> write_parts(blob::ObjectStore& store, std::string_view workspace, const ManifestEntry& entry,
                     const std::filesystem::path& path, const std::function<void(uint64_t)>& add) {
  const unsigned mode = (entry.mode & 0111) != 0 ? 0755 : 0644;
  TRY(const UniqueFd fd, open_file(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode));
  if (::fchmod(fd.get(), mode) != 0) return fail_errno("set the mode of " + path.string(), errno);
  uint64_t written = 0;
  for (const Digest& part : entry.parts) {
    TRY(const std::string bytes, read_part(store, workspace, entry, part));
    TRY_VOID(write_all(fd.get(), bytes, path.string()));
    written += bytes.size();
    add(bytes.size());
  }
  if (written == entry.size) return {};
  return refuse(entry.path, fmt::format("has {} bytes, not {}", written, entry.size));
}

}  // namespace

Result<Manifest> parse_manifest(std::string_view text) {
  const json list = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!list.is_array()) return fail(ErrorCode::invalid_argument, "the list of uploaded files is not a JSON list");
  if (list.size() > kEntriesMax) return fail(ErrorCode::exhausted, "more than a million uploaded files");
  Manifest manifest;
  for (const json& value : list) {
    TRY(ManifestEntry entry, parse_entry(value));
    manifest.push_back(std::move(entry));
  }
  std::ranges::sort(manifest, {}, &ManifestEntry::path);
  TRY_VOID(check_tree(manifest));
  return manifest;
}

const ManifestEntry* find_entry(const Manifest& manifest, std::string_view path) {
  while (path.ends_with('/')) path.remove_suffix(1);
  const auto found = std::ranges::lower_bound(manifest, path, {}, &ManifestEntry::path);
  return found != manifest.end() && found->path == path ? &*found : nullptr;
}

Manifest entries_below(const Manifest& manifest, std::string_view path) {
  while (path.ends_with('/')) path.remove_suffix(1);
  Manifest below;
  if (const ManifestEntry* entry = find_entry(manifest, path); entry != nullptr && entry->type == EntryType::file) {
    below.push_back(*entry);
    below.back().path = path.substr(path.rfind('/') + 1);
    return below;
  }
  const std::string prefix = std::string(path) + "/";
  for (const ManifestEntry& entry : manifest) {
    if (!entry.path.starts_with(prefix)) continue;
    below.push_back(entry);
    below.back().path.erase(0, prefix.size());
  }
  return below;
}

Digest manifest_digest(const Manifest& manifest) {
  DigestHasher hasher;
  for (const ManifestEntry& entry : manifest) {
    std::string bytes;
    const auto field = [&bytes](std::string_view value) {
      append_le(bytes, uint64_t{value.size()});
      bytes += value;
    };
    field(entry.path);
    field(entry.target);
    append_le(bytes, static_cast<uint8_t>(entry.type));
    append_le(bytes, static_cast<uint8_t>((entry.mode & 0111) != 0 ? 1 : 0));
    append_le(bytes, entry.mtime_ns);
    append_le(bytes, uint64_t{entry.parts.size()});
    for (const Digest& part : entry.parts) bytes += part.hex();
    hasher.update(bytes);
  }
  return hasher.finish();
}

Result<> materialize(blob::ObjectStore& store, std::string_view workspace, const Manifest& manifest,
                     const std::filesystem::path& directory, const MaterializeOptions& options) {
  uint64_t done = 0;
  const auto add = [&done, &options](uint64_t bytes) {
    done += bytes;
    if (options.progress) options.progress(done);
  };
  TRY_VOID(make_directories(directory));
  for (const ManifestEntry& entry : manifest) {
    const std::filesystem::path path = directory / entry.path;
    TRY_VOID(make_directories(entry.type == EntryType::directory ? path : path.parent_path()));
    if (entry.type == EntryType::symlink) {
      if (::symlink(entry.target.c_str(), path.c_str()) != 0) return fail_errno("make " + path.string(), errno);
    } else if (entry.type == EntryType::file) {
      TRY_VOID(write_parts(store, workspace, entry, path, add));
    }
    if (entry.type != EntryType::directory) TRY_VOID(set_time(path, entry.mtime_ns));
  }
  // Folders last and from below: writing into them changes their times.
  for (auto entry = manifest.rbegin(); entry != manifest.rend(); ++entry) {
    if (entry->type == EntryType::directory) TRY_VOID(set_time(directory / entry->path, entry->mtime_ns));
  }
  return {};
}

Result<std::string> read_part(blob::ObjectStore& store, std::string_view workspace, const ManifestEntry& entry,
                              const Digest& part, PartCheck check) {
  auto bytes = store.get(catalog::upload_key(workspace, part.hex()));
  if (!bytes && bytes.error().code == ErrorCode::not_found) {
    return fail(ErrorCode::not_found,
                fmt::format("part {} of {} was not uploaded: deploy again", part.hex(), entry.path));
  }
  if (!bytes) return fail_with_context("read the upload of " + entry.path, std::move(bytes).error());
  if (check == PartCheck::digest && Digest::of(*bytes) != part) {
    return fail(ErrorCode::corrupt, fmt::format("part {} of {} is damaged in the store", part.hex(), entry.path));
  }
  return bytes;
}

}  // namespace hearth::build
