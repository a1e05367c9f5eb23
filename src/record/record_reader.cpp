#include "record/record_reader.hpp"

#include "base/file.hpp"
#include "blob/object_store.hpp"
#include "record/request_record.hpp"
#include "record/segment_store.hpp"
#include "record/spool.hpp"
#include "record/usage_table.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <tuple>

namespace hearth::record {
namespace {

struct Match {
  WallTime started;
  std::string line;
  auto operator<=>(const Match&) const = default;
};

/// Cheap tests on the text first: most lines of a busy router are about something else.
bool may_match(const RecordQuery& query, std::string_view line) {
  const auto has = [line](std::string_view name, const std::string& value) {
    return value.empty() || line.contains("\"" + std::string(name) + "\":\"" + value + "\"");
  };
  return line.starts_with("{\"workspace\":\"" + query.workspace + "\"") && has("model", query.model) &&
         has("branch", query.branch);
}

/// Appends the matching lines in readable form.
void collect(const RecordQuery& query, std::string_view text, std::vector<Match>& matches) {
  for_each_line(text, [&query, &matches](std::string_view line) {
    if (!may_match(query, line)) return;
    const auto record = parse_record(line);
    if (!record || record->workspace != query.workspace) return;
    if (!query.model.empty() && record->model != query.model) return;
    if (!query.branch.empty() && record->branch != query.branch) return;
    if (query.version && record->version != *query.version) return;
    if (query.since && record->started < *query.since) return;
    if (auto readable = readable_line(line)) matches.push_back({record->started, std::move(*readable)});
  });
}

void sort_and_bound(std::vector<Match>& matches, size_t limit) {
  std::ranges::sort(matches);
  if (matches.size() > limit) matches.erase(matches.begin(), matches.end() - static_cast<ptrdiff_t>(limit));
}

std::vector<std::string> lines_of(std::vector<Match> matches) {
  std::vector<std::string> lines;
  lines.reserve(matches.size());
  for (Match& match : matches) lines.push_back(std::move(match.line));
  return lines;
}

using Kinds = std::array<SegmentKind, 3>;
/// Under whatever name its records have by now.
constexpr Kinds kRecords = {SegmentKind::live, SegmentKind::uploaded, SegmentKind::live};
/// Its records, or the usage that they were reduced to, which is there before they go.
constexpr Kinds kCounted = {SegmentKind::live, SegmentKind::uploaded, SegmentKind::usage};

/// The first of these that is there; nullopt when the segment is gone, or has none of them.
std::optional<std::string> read_segment(const std::filesystem::path& spool, uint64_t number, const Kinds& kinds) {
  for (SegmentKind kind : kinds) {
    auto text = read_file(segment_path(spool, number, kind));
    if (text) return std::move(*text);
  }
  return std::nullopt;
}

/// All segments of the spool. One that changes its name while we look may be missed, but not by both looks.
Result<std::set<uint64_t>> segment_numbers(const std::filesystem::path& spool) {
  std::set<uint64_t> numbers;
  for (int look = 0; look < 2; ++look) {
    TRY(const auto segments, list_segments(spool));
    for (const SegmentFile& segment : segments) numbers.insert(segment.number);
  }
  return numbers;
}

}  // namespace

Result<std::vector<std::string>> RecordReader::query(const RecordQuery& query) const {
  std::vector<Match> matches;
  std::set<std::string> read_live;  // a segment may be stored while we look: it counts once
  if (!spool_.empty()) {
    const std::string id = read_spool_id(spool_);
    TRY(const auto segments, list_segments(spool_));
    for (const SegmentFile& segment : segments) {
      if (segment.kind == SegmentKind::usage) continue;
      const auto text = read_segment(spool_, segment.number, kRecords);
      if (!text || !read_live.insert(segment_origin(id, segment.number)).second) continue;
      collect(query, *text, matches);
      if (matches.size() > 4 * query.limit) sort_and_bound(matches, query.limit);
    }
  }
  TRY(auto stored, list_stored(*store_, logs_prefix(query.workspace)));
  std::ranges::sort(stored, std::ranges::greater(), &StoredSegment::last);
  for (const StoredSegment& segment : stored) {
    if (read_live.contains(segment.origin)) continue;
    if (query.since && segment.last < *query.since) break;
    sort_and_bound(matches, query.limit);
    if (matches.size() == query.limit && (query.limit == 0 || segment.last < matches.front().started)) break;
    auto text = read_stored(*store_, segment);
    if (!text && text.error().code == ErrorCode::not_found) continue;  // removed meanwhile: logs are bounded
    if (!text) return fail_with_context("read the logs", std::move(text).error());
    collect(query, *text, matches);
  }
  sort_and_bound(matches, query.limit);
  return lines_of(std::move(matches));
}

Result<SpoolPosition> RecordReader::position() const {
  TRY(const auto segments, list_segments(spool_));
  for (auto at = segments.rbegin(); at != segments.rend(); ++at) {
    if (at->kind == SegmentKind::live) return SpoolPosition{at->number, at->size};
  }
  return SpoolPosition{segments.empty() ? 0 : segments.back().number + 1, 0};
}

Result<std::vector<std::string>> RecordReader::follow(const RecordQuery& query, SpoolPosition& position) const {
  TRY(const auto segments, list_segments(spool_));
  std::vector<Match> matches;
  for (const SegmentFile& segment : segments) {
    if (segment.number < position.segment || segment.kind == SegmentKind::usage) continue;
    const auto text = read_segment(spool_, segment.number, kRecords);
    if (!text) continue;
    if (segment.number > position.segment) position = {segment.number, 0};
    if (text->size() <= position.offset) continue;
    const std::string_view fresh = std::string_view(*text).substr(position.offset);
    collect(query, fresh, matches);
    position.offset += for_each_line(fresh, [](std::string_view) {});
  }
  return lines_of(std::move(matches));
}

Result<std::vector<UsageTotal>> RecordReader::usage(const std::string& workspace, std::optional<WallTime> since) const {
  UsageTable table;
  std::set<std::string> read_live;
  const auto add = [&table](const std::string& text) {
    for_each_line(text, [&table](std::string_view line) { table.add_line(line); });
  };
  if (!spool_.empty()) {
    const std::string id = read_spool_id(spool_);
    TRY(const auto numbers, segment_numbers(spool_));
    for (const uint64_t number : numbers) {
      const auto text = read_segment(spool_, number, kCounted);
      if (!text) continue;
      read_live.insert(segment_origin(id, number));
      add(*text);
    }
  }
  TRY(const auto stored, list_stored(*store_, usage_prefix(workspace)));
  for (const StoredSegment& segment : stored) {
    if (read_live.contains(segment.origin) || (since && segment.last < *since)) continue;
    TRY(const std::string text, read_stored(*store_, segment));
    add(text);
  }
  std::map<std::tuple<std::string, std::string, uint32_t>, UsageTotal> totals;
  for (const auto& [key, counts] : table.rows()) {
    if (key.workspace != workspace) continue;
    const WallTime minute{std::chrono::minutes(key.minute)};
    if (since && minute + std::chrono::minutes(1) <= *since) continue;
    UsageTotal& total = totals[{key.model, key.branch, key.version}];
    total.model = key.model;
    total.branch = key.branch;
    total.version = key.version;
    total.requests += counts.requests;
    total.failed += counts.failed;
    total.rows += counts.rows;
    total.failed_rows += counts.failed_rows;
    total.run_us += counts.run_us;
    total.cpu_us += counts.cpu_us;
    total.bytes_in += counts.bytes_in;
    total.bytes_out += counts.bytes_out;
  }
  std::vector<UsageTotal> out;
  out.reserve(totals.size());
  for (auto& [key, total] : totals) out.push_back(std::move(total));
  return out;
}

}  // namespace hearth::record
