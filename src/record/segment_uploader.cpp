#include "record/segment_uploader.hpp"

#include "base/file.hpp"
#include "base/log.hpp"
#include "blob/object_store.hpp"
#include "record/segment_store.hpp"
#include "record/usage_table.hpp"

#include <set>

namespace hearth::record {
namespace {

/// Modification time as wall time.
WallTime modified_at(const std::filesystem::path& path) {
  std::error_code error;
  const auto time = std::filesystem::last_write_time(path, error);
  return error ? WallTime{} : std::chrono::time_point_cast<WallTime::duration>(std::chrono::file_clock::to_sys(time));
}

}  // namespace

Result<> SegmentUploader::upload_closed(uint64_t current) {
  TRY(const auto segments, list_segments(spool_.directory()));
  std::set<std::string> workspaces;
  for (const SegmentFile& segment : segments) {
    if (segment.kind == SegmentKind::uploaded || segment.number >= current) continue;
    const auto path = spool_.path(segment.number, segment.kind);
    auto uploaded = upload_segment(*store_, path, segment_origin(spool_.id(), segment.number), segment.kind);
    if (!uploaded) return fail_with_context("upload of " + path.string(), std::move(uploaded).error());
    workspaces.insert(uploaded->begin(), uploaded->end());
    std::error_code error;
    if (segment.kind == SegmentKind::usage) {
      std::filesystem::remove(path, error);
    } else {
      std::filesystem::last_write_time(path, std::filesystem::file_time_type::clock::now(), error);
      std::filesystem::rename(path, spool_.path(segment.number, SegmentKind::uploaded), error);
    }
    if (error) return fail_errno("put away " + path.string(), error.value());
    ++counts_.uploaded;
  }
  for (const std::string& workspace : workspaces) TRY_VOID(bound_logs(workspace));
  return {};
}

Result<> SegmentUploader::bound_logs(const std::string& workspace) {
  TRY(const auto stored, list_stored(*store_, logs_prefix(workspace)));
  uint64_t total = 0;
  for (const StoredSegment& segment : stored) {
    if (!sizes_.contains(segment.key)) {
      TRY(const auto size, store_->size(segment.key));
      sizes_[segment.key] = size.value_or(0);
    }
    total += sizes_[segment.key];
  }
  for (const StoredSegment& segment : stored) {
    if (total <= config_.log_bytes_per_workspace) return {};
    TRY_VOID(store_->remove(segment.key));
    total -= sizes_[segment.key];
    sizes_.erase(segment.key);
  }
  return {};
}

Result<> SegmentUploader::reduce(const SegmentFile& segment) {
  const auto path = spool_.path(segment.number, SegmentKind::live);
  TRY(const std::string text, read_file(path));
  UsageTable usage;
  for_each_line(text, [&usage](std::string_view line) { usage.add_line(line); });
  // Both may be there after a kill: their stored usage has one name, so it is counted once.
  TRY_VOID(write_file_atomic(spool_.path(segment.number, SegmentKind::usage), usage.to_lines(), kSpoolFileMode));
  std::error_code error;
  std::filesystem::remove(path, error);
  ++counts_.reduced;
  return {};
}

Result<> SegmentUploader::shrink_spool(uint64_t current, uint64_t limit_bytes) {
  TRY(const auto segments, list_segments(spool_.directory()));
  uint64_t total = 0;
  for (const SegmentFile& segment : segments) total += segment.size;
  for (const SegmentFile& segment : segments) {
    if (total <= limit_bytes) return {};
    if (segment.number >= current || segment.kind == SegmentKind::usage) continue;
    if (segment.kind == SegmentKind::uploaded) {
      std::error_code error;
      std::filesystem::remove(spool_.path(segment.number, segment.kind), error);
    } else {
      TRY_VOID(reduce(segment));
    }
    total -= segment.size;
  }
  return {};
}

void SegmentUploader::remove_uploaded(WallTime now) {
  const auto segments = list_segments(spool_.directory());
  if (!segments) return;
  for (const SegmentFile& segment : *segments) {
    if (segment.kind != SegmentKind::uploaded) continue;
    const auto path = spool_.path(segment.number, segment.kind);
    std::error_code error;
    if (now - modified_at(path) >= config_.keep_uploaded) std::filesystem::remove(path, error);
  }
}

}  // namespace hearth::record
