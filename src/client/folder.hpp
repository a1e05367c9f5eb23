// A model folder as the manifest that is uploaded: paths, modes, times and the digests of ≤ 4 MiB parts.
#pragma once

#include "base/digest.hpp"
#include "base/result.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace hearth::client {

inline constexpr uint64_t kPartBytesMax = 4 * 1024 * 1024;

struct FolderEntry {
  enum class Type { file, symlink, directory };
  std::string path;  // relative, '/'-separated
  Type type = Type::file;
  unsigned mode = 0;
  uint64_t size = 0;
  int64_t mtime_ns = 0;  // since 1970
  std::string target;    // of a symbolic link
  std::vector<Digest> parts;
};

/// Reads and hashes the folder, sorted by path. Left out: .git, __pycache__, .venv, venv, node_modules,
/// .ipynb_checkpoints, .DS_Store and whatever a .hearthignore in the folder names (one glob a line, as in .gitignore's
/// simple forms: `name`, `*.ext`, `folder/`). `on_bytes` is told of progress. Sockets, devices and FIFOs are refused.
Result<std::vector<FolderEntry>> scan_folder(const std::filesystem::path& folder,
                                             const std::function<void(uint64_t)>& on_bytes);

/// The same without files of more than `largest` bytes, which are not read; nothing when there are none such.
Result<std::optional<std::vector<FolderEntry>>> scan_small_files(const std::filesystem::path& folder, uint64_t largest);

/// One file under another manifest path, for sources that are single files.
Result<FolderEntry> scan_file(const std::filesystem::path& file, std::string manifest_path,
                              const std::function<void(uint64_t)>& on_bytes);

/// The JSON array the API calls `files`.
std::string manifest_json(const std::vector<FolderEntry>& entries);

}  // namespace hearth::client
