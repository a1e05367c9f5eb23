// Segments in the object store: how they are named, written and read back.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"
#include "record/spool.hpp"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::blob {
class ObjectStore;
}

namespace hearth::record {

/// logs/<w>/<first>-<last>-<spool>-<number>.jsonl.zst, usage/<w>/<…>.jsonl; times in microseconds since 1970, 16
/// digits. The name follows from the segment alone, so that uploading again after a kill makes nothing twice.
struct StoredSegment {
  std::string key;
  WallTime first;      // when its oldest request started
  WallTime last;       // its newest
  std::string origin;  // "<spool>-<number>"
};
std::optional<StoredSegment> parse_segment_key(std::string_view key);
std::string segment_origin(std::string_view spool_id, uint64_t number);

/// Splits a closed segment by workspace and creates its usage and logs, usage first. Answers the workspaces it had.
Result<std::vector<std::string>> upload_segment(blob::ObjectStore& store, const std::filesystem::path& file,
                                                std::string_view origin, SegmentKind kind);

/// The stored log segments of a workspace, oldest first.
Result<std::vector<StoredSegment>> list_stored(blob::ObjectStore& store, std::string_view prefix);
/// Lines of a stored segment, decompressed when its name says so.
Result<std::string> read_stored(blob::ObjectStore& store, const StoredSegment& segment);

std::string logs_prefix(std::string_view workspace);
std::string usage_prefix(std::string_view workspace);

}  // namespace hearth::record
