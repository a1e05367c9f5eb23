#include "client/folder.hpp"

#include "base/file.hpp"

#include <nlohmann/json.hpp>

#include <fcntl.h>
#include <fnmatch.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <utility>

namespace hearth::client {

namespace fs = std::filesystem;

namespace {

class IgnoreRules {
 public:
  static Result<IgnoreRules> of(const fs::path& folder) {
    IgnoreRules rules;
    const auto text = read_file(folder / ".hearthignore", 1 << 20);
    if (!text && text.error().code != ErrorCode::not_found) return Unexpected(text.error());
    if (text) rules.add_lines(*text);
    return rules;
  }

  bool ignores(const std::string& path, bool is_directory) const {
    const std::string name = fs::path(path).filename().string();
    return std::ranges::any_of(patterns_, [&](const std::string& pattern) {
      const bool directories_only = pattern.ends_with('/');
      if (directories_only && !is_directory) return false;
      const std::string glob = directories_only ? pattern.substr(0, pattern.size() - 1) : pattern;
      if (glob.find('/') != std::string::npos) {
        return ::fnmatch(glob.c_str() + (glob.starts_with('/') ? 1 : 0), path.c_str(), FNM_PATHNAME) == 0;
      }
      return ::fnmatch(glob.c_str(), name.c_str(), 0) == 0;
    });
  }

 private:
  void add_lines(std::string_view text) {
    while (!text.empty()) {
      const size_t end = std::min(text.find('\n'), text.size());
      std::string line(text.substr(0, end));
      text.remove_prefix(std::min(end + 1, text.size()));
      while (!line.empty() && (line.back() == ' ' || line.back() == '\r')) line.pop_back();
      if (!line.empty() && line.front() != '#') patterns_.push_back(std::move(line));
    }
  }

  std::vector<std::string> patterns_ = {".git/",         "__pycache__/",   ".venv/",    "venv/",
                                        "node_modules/", ".pytest_cache/", ".DS_Store", ".ipynb_checkpoints/"};
};

Result<> hash_parts(const fs::path& file, FolderEntry& entry, const std::function<void(uint64_t)>& on_bytes) {
  TRY(auto fd, open_file(file, O_RDONLY | O_NOFOLLOW));
  std::string part(kPartBytesMax, '\0');
  entry.size = 0;
  for (;;) {
    size_t filled = 0;
    while (filled < part.size()) {
      const ssize_t got = ::read(fd.get(), part.data() + filled, part.size() - filled);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return fail_errno("read " + file.string(), errno);
      if (got == 0) break;
      filled += static_cast<size_t>(got);
    }
    if (filled == 0) return {};
    entry.parts.push_back(Digest::of(std::string_view(part).substr(0, filled)));
    entry.size += filled;
    on_bytes(filled);
    if (filled < part.size()) return {};
  }
}

Result<FolderEntry> entry_of(const fs::path& file, std::string path, const std::function<void(uint64_t)>& on_bytes) {
  struct stat info{};
  if (::lstat(file.c_str(), &info) != 0) return fail_errno("read " + file.string(), errno);
  FolderEntry entry{.path = std::move(path), .mode = info.st_mode & 0777U};
  entry.mtime_ns = int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec;
  if (S_ISDIR(info.st_mode)) {
    entry.type = FolderEntry::Type::directory;
  } else if (S_ISLNK(info.st_mode)) {
    entry.type = FolderEntry::Type::symlink;
    std::error_code error;
    entry.target = fs::read_symlink(file, error).string();
    if (error) return fail_errno("read link " + file.string(), error.value());
  } else if (S_ISREG(info.st_mode)) {
    TRY_VOID(hash_parts(file, entry, on_bytes));
  } else {
    return fail(
        ErrorCode::invalid_argument,
        file.string() + " is a socket, pipe or device and cannot be deployed; remove it or name it in .hearthignore");
  }
  return entry;
}

/// One walk through a folder.
class FolderScan {
 public:
  static constexpr uint64_t kAny = std::numeric_limits<uint64_t>::max();

  FolderScan(fs::path root, std::function<void(uint64_t)> on_bytes, uint64_t largest = kAny)
      : root_(std::move(root)), on_bytes_(std::move(on_bytes)), largest_(largest) {}

  Result<> run() {
    std::error_code error;
    if (!fs::is_directory(root_, error)) {
      return fail(ErrorCode::invalid_argument, root_.string() + " is not a folder");
    }
    TRY(ignore_, IgnoreRules::of(root_));
    TRY_VOID(scan(""));
    std::ranges::sort(entries_, {}, &FolderEntry::path);
    return {};
  }
  std::vector<FolderEntry> take_entries() { return std::move(entries_); }
  bool left_some_out() const { return left_some_out_; }

 private:
  Result<> scan(const std::string& relative) {
    std::error_code error;
    for (fs::directory_iterator it(root_ / relative, error), end; !error && it != end; it.increment(error)) {
      const std::string name = it->path().filename().string();
      const std::string path = relative.empty() ? name : relative + "/" + name;
      const bool is_link = it->is_symlink(error);
      const bool is_directory = !is_link && it->is_directory(error);
      if (ignore_.ignores(path, is_directory)) continue;
      if (!is_link && it->is_regular_file(error) && it->file_size(error) > largest_) {
        left_some_out_ = true;
        continue;
      }
      TRY(auto entry, entry_of(it->path(), path, on_bytes_));
      entries_.push_back(std::move(entry));
      if (is_directory) TRY_VOID(scan(path));
    }
    if (error) return fail_errno("list " + (root_ / relative).string(), error.value());
    return {};
  }

  const fs::path root_;
  const std::function<void(uint64_t)> on_bytes_;
  const uint64_t largest_;  // bytes of a file
  IgnoreRules ignore_;
  std::vector<FolderEntry> entries_;
  bool left_some_out_ = false;
};

const char* name_of(FolderEntry::Type type) {
  switch (type) {
    case FolderEntry::Type::file:
      return "file";
    case FolderEntry::Type::symlink:
      return "symlink";
    case FolderEntry::Type::directory:
      return "dir";
  }
  return "file";
}

}  // namespace

Result<std::vector<FolderEntry>> scan_folder(const fs::path& folder, const std::function<void(uint64_t)>& on_bytes) {
  FolderScan scan(folder, on_bytes);
  TRY_VOID(scan.run());
  return scan.take_entries();
}

Result<std::optional<std::vector<FolderEntry>>> scan_small_files(const fs::path& folder, uint64_t largest) {
  FolderScan scan(folder, [](uint64_t) {}, largest);
  TRY_VOID(scan.run());
  if (!scan.left_some_out()) return std::optional<std::vector<FolderEntry>>();
  return std::optional(scan.take_entries());
}

Result<FolderEntry> scan_file(const fs::path& file, std::string manifest_path,
                              const std::function<void(uint64_t)>& on_bytes) {
  return entry_of(file, std::move(manifest_path), on_bytes);
}

std::string manifest_json(const std::vector<FolderEntry>& entries) {
  auto files = nlohmann::json::array();
  for (const FolderEntry& entry : entries) {
    nlohmann::json file = {{"path", entry.path},
                           {"type", name_of(entry.type)},
                           {"mode", entry.mode},
                           {"size", entry.size},
                           {"mtime_ns", entry.mtime_ns}};
    if (entry.type == FolderEntry::Type::symlink) file["target"] = entry.target;
    if (entry.type == FolderEntry::Type::file) {
      file["parts"] = nlohmann::json::array();
      for (const Digest& part : entry.parts) file["parts"].push_back(part.hex());
    }
    files.push_back(std::move(file));
  }
  // Names that are not UTF-8 cannot travel in JSON; the replacement makes the server refuse nothing silently.
  return files.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace hearth::client
