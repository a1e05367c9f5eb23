// The uploaded folder as its manifest tells it; the content lies in parts under ws/<w>/uploads/<hex>.
#pragma once

#include "base/digest.hpp"
#include "base/result.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::blob {
class ObjectStore;
}

namespace hearth::build {

enum class EntryType { file, symlink, directory };

struct ManifestEntry {
  std::string path;  // relative; checked: no "..", no absolute, no duplicates, never below a symlink
  EntryType type = EntryType::file;
  uint32_t mode = 0644;
  uint64_t size = 0;
  int64_t mtime_ns = 0;  // since 1970
  std::string target;    // symlinks
  std::vector<Digest> parts;
};

/// Sorted by path.
using Manifest = std::vector<ManifestEntry>;

/// The JSON list of the wire's "files". invalid_argument for anything hostile or malformed.
Result<Manifest> parse_manifest(std::string_view json);

/// The entry with this path; null without.
const ManifestEntry* find_entry(const Manifest& manifest, std::string_view path);
/// Entries below the folder `path`, with paths relative to it; a file itself, under its base name.
Manifest entries_below(const Manifest& manifest, std::string_view path);
/// What decides the content of the entries: equal files give equal digests, whenever they were uploaded.
Digest manifest_digest(const Manifest& manifest);

struct MaterializeOptions {
  std::function<void(uint64_t done_bytes)> progress;
};

/// Writes the entries below an empty directory, owned by root: files 0644 or 0755, folders 0755, times kept to the
/// nanosecond. Each part is checked against its digest. not_found names a part that was never uploaded.
Result<> materialize(blob::ObjectStore& store, std::string_view workspace, const Manifest& manifest,
                     const std::filesystem::path& directory, const MaterializeOptions& options = {});

/// Whether a part's bytes are compared with its digest; no for what is verified where it is used.
enum class PartCheck { digest, none };
/// One of an entry's parts. not_found when it was not uploaded, corrupt when it is damaged.
Result<std::string> read_part(blob::ObjectStore& store, std::string_view workspace, const ManifestEntry& entry,
                              const Digest& part, PartCheck check = PartCheck::digest);

}  // namespace hearth::build
