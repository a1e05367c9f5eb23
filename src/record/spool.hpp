// The writer's directory: numbered segments, open, closed, uploaded or reduced to their usage. Private.
#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace hearth::record {

inline constexpr unsigned kSpoolFileMode = 0640;

/// live: records, open or waiting for the store · uploaded: kept a little for followers · usage: its logs were dropped
enum class SegmentKind { live, uploaded, usage };

struct SegmentFile {
  uint64_t number = 0;
  SegmentKind kind = SegmentKind::live;
  uint64_t size = 0;
  auto operator<=>(const SegmentFile&) const = default;
};

std::filesystem::path segment_path(const std::filesystem::path& directory, uint64_t number, SegmentKind kind);
/// All segments by number. An absent directory has none.
Result<std::vector<SegmentFile>> list_segments(const std::filesystem::path& directory);
/// Random name of the spool, part of the names of stored segments; empty when there is no spool.
std::string read_spool_id(const std::filesystem::path& directory);

/// Holds the directory's lock as long as it lives.
class Spool {
 public:
  /// already_exists when another process writes here.
  static Result<Spool> open(const std::filesystem::path& directory);

  const std::filesystem::path& directory() const { return directory_; }
  const std::string& id() const { return id_; }
  std::filesystem::path path(uint64_t number, SegmentKind kind) const { return segment_path(directory_, number, kind); }

 private:
  Spool(std::filesystem::path directory, std::string id, UniqueFd lock)
      : directory_(std::move(directory)), id_(std::move(id)), lock_(std::move(lock)) {}
  std::filesystem::path directory_;
  std::string id_;
  UniqueFd lock_;
};

/// Calls `line` with each complete line (without '\n') of the text; answers the bytes up to the end of the last one.
template <class OnLine>
size_t for_each_line(std::string_view text, const OnLine& line) {
  size_t at = 0;
  while (true) {
    const size_t end = text.find('\n', at);
    if (end == std::string_view::npos) return at;
    line(text.substr(at, end - at));
    at = end + 1;
  }
}

}  // namespace hearth::record
