#include "record/segment_store.hpp"

#include "base/file.hpp"
#include "base/log.hpp"
#include "base/outside_time.hpp"
#include "blob/object_store.hpp"
#include "record/usage_table.hpp"

#include <fmt/format.h>
#include <zstd.h>

#include <algorithm>
#include <map>

namespace hearth::record {
namespace {

constexpr int kCompressionLevel = 3;
constexpr uint64_t kSegmentMax = uint64_t{1} << 30;  // unpacked; ours are far smaller
constexpr std::string_view kLogsEnding = ".jsonl.zst";
constexpr std::string_view kUsageEnding = ".jsonl";

std::string compress(std::string_view text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  const size_t size = ZSTD_compress(out.data(), out.size(), text.data(), text.size(), kCompressionLevel);
  CHECK_PROMISE(ZSTD_isError(size) == 0);  // only lack of room in `out` could be an error
  out.resize(size);
  return out;
}

Result<std::string> decompress(std::string_view bytes, std::string_view what) {
  const unsigned long long size = ZSTD_getFrameContentSize(bytes.data(), bytes.size());
  if (size == ZSTD_CONTENTSIZE_ERROR || size == ZSTD_CONTENTSIZE_UNKNOWN || size > kSegmentMax) {
    return fail(ErrorCode::corrupt, fmt::format("{} is not a compressed log segment", what));
  }
  std::string out(size, '\0');
  const size_t done = ZSTD_decompress(out.data(), out.size(), bytes.data(), bytes.size());
  if (ZSTD_isError(done) != 0 || done != out.size())
    return fail(ErrorCode::corrupt, fmt::format("{} is damaged", what));
  return out;
}

/// What one workspace has in a segment.
struct Share {
  std::string lines;
  UsageTable usage;
  std::string first;  // of the requests' "started", which sorts as text
  std::string last;
};

/// The workspace of a line comes first in it and holds no escapes; usage rows are only counted.
std::optional<std::string_view> text_after(std::string_view line, std::string_view name) {
  const size_t at = line.find(name);
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view rest = line.substr(at + name.size());
  const size_t quote = rest.find('"');
  if (quote == std::string_view::npos) return std::nullopt;
  return rest.substr(0, quote);
}

/// False for a torn line.
bool add_line(std::map<std::string, Share, std::less<>>& shares, std::string_view line) {
  const auto workspace = text_after(line, "\"workspace\":\"");
  if (!workspace) return false;
  Share& share = shares[std::string(*workspace)];
  if (!share.usage.add_line(line)) return false;
  const auto started = text_after(line, "\"started\":\"");
  if (!line.starts_with("{\"workspace\":") || !started) return true;  // a row of usage
  (share.lines += line) += '\n';
  if (share.first.empty() || *started < share.first) share.first = *started;
  if (*started > share.last) share.last = *started;
  return true;
}

std::string logs_key(std::string_view workspace, const Share& share, std::string_view origin) {
  const auto us = [](const std::string& time) { return to_unix_us(from_iso8601(time).value_or(WallTime{})); };
  return fmt::format("{}{:016}-{:016}-{}{}", logs_prefix(workspace), us(share.first), us(share.last), origin,
                     kLogsEnding);
}

/// Whole minutes, so that a segment has the same name whether it was reduced to its usage or not.
std::string usage_key(std::string_view workspace, const Share& share, std::string_view origin) {
  int64_t first = INT64_MAX;
  int64_t last = 0;
  for (const auto& [key, counts] : share.usage.rows()) {
    first = std::min(first, key.minute);
    last = std::max(last, key.minute);
  }
  constexpr int64_t kUsPerMinute = 60'000'000;
  return fmt::format("{}{:016}-{:016}-{}{}", usage_prefix(workspace), first * kUsPerMinute,
                     (last + 1) * kUsPerMinute - 1, origin, kUsageEnding);
}

}  // namespace

std::string logs_prefix(std::string_view workspace) {
  return fmt::format("logs/{}/", workspace);
}
std::string usage_prefix(std::string_view workspace) {
  return fmt::format("usage/{}/", workspace);
}

std::string segment_origin(std::string_view spool_id, uint64_t number) {
  return fmt::format("{}-{:016}", spool_id, number);
}

std::optional<StoredSegment> parse_segment_key(std::string_view key) {
  StoredSegment segment;
  segment.key = key;
  std::string_view name = key.substr(key.rfind('/') + 1);
  const bool logs = name.ends_with(kLogsEnding);
  if (!logs && !name.ends_with(kUsageEnding)) return std::nullopt;
  name.remove_suffix(logs ? kLogsEnding.size() : kUsageEnding.size());
  const auto time = [&name](WallTime& value) {
    const size_t dash = name.find('-');
    if (dash == std::string_view::npos || dash == 0 || dash > 18) return false;
    int64_t us = 0;
    for (char c : name.substr(0, dash)) {
      if (c < '0' || c > '9') return false;
      us = us * 10 + (c - '0');
    }
    value = wall_at(microseconds(us));
    name.remove_prefix(dash + 1);
    return true;
  };
  if (!time(segment.first) || !time(segment.last) || name.empty()) return std::nullopt;
  segment.origin = name;
  return segment;
}

Result<std::vector<std::string>> upload_segment(blob::ObjectStore& store, const std::filesystem::path& file,
                                                std::string_view origin, SegmentKind kind) {
  TRY(const std::string text, read_file(file, kSegmentMax));
  std::map<std::string, Share, std::less<>> shares;
  uint64_t torn = 0;
  for_each_line(text, [&shares, &torn, &text](std::string_view line) {
    torn += add_line(shares, line) ? 0 : 1;
    // Most often everything is one workspace's: growing by doubling would touch twice the memory.
    if (shares.size() == 1) shares.begin()->second.lines.reserve(text.size());
  });
  if (torn > 0) log_warning("lines of a record segment cannot be read", {{"file", file.string()}, {"lines", torn}});

  std::vector<std::string> workspaces;
  for (const auto& [workspace, share] : shares) {
    workspaces.push_back(workspace);
    if (share.usage.empty()) continue;
    TRY_VOID(store.create(usage_key(workspace, share, origin), share.usage.to_lines(workspace)));
    if (kind == SegmentKind::usage || share.lines.empty()) continue;
    TRY_VOID(store.create(logs_key(workspace, share, origin), compress(share.lines)));
  }
  return workspaces;
}

Result<std::vector<StoredSegment>> list_stored(blob::ObjectStore& store, std::string_view prefix) {
  TRY(const auto keys, store.list(prefix));
  std::vector<StoredSegment> segments;
  for (const std::string& key : keys) {
    if (auto segment = parse_segment_key(key)) segments.push_back(std::move(*segment));
  }
  return segments;
}

Result<std::string> read_stored(blob::ObjectStore& store, const StoredSegment& segment) {
  TRY(std::string bytes, store.get(segment.key));
  if (!segment.key.ends_with(kLogsEnding)) return bytes;
  return decompress(bytes, segment.key);
}

}  // namespace hearth::record
