#include "record/spool.hpp"

#include "base/file.hpp"
#include "base/random_id.hpp"

#include <fmt/format.h>

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

namespace hearth::record {
namespace {

constexpr std::array<std::pair<SegmentKind, std::string_view>, 3> kEndings = {
    {{SegmentKind::live, ".jsonl"}, {SegmentKind::uploaded, ".uploaded"}, {SegmentKind::usage, ".usage"}}};
constexpr std::string_view kIdFile = "id";

bool parse_segment(std::string_view name, SegmentFile& segment) {
  for (const auto& [kind, ending] : kEndings) {
    if (!name.ends_with(ending)) continue;
    name.remove_suffix(ending.size());
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), segment.number);
    segment.kind = kind;
    return error == std::errc() && end == name.data() + name.size();
  }
  return false;
}

}  // namespace

std::filesystem::path segment_path(const std::filesystem::path& directory, uint64_t number, SegmentKind kind) {
  return directory / fmt::format("{:016}{}", number, kEndings.at(static_cast<size_t>(kind)).second);
}

Result<std::vector<SegmentFile>> list_segments(const std::filesystem::path& directory) {
  std::vector<SegmentFile> segments;
  std::error_code error;
  for (std::filesystem::directory_iterator at(directory, error), end; !error && at != end; at.increment(error)) {
    SegmentFile segment;
    if (!parse_segment(at->path().filename().native(), segment)) continue;
    std::error_code gone;  // renamed or removed by the uploader meanwhile
    segment.size = at->file_size(gone);
    if (!gone) segments.push_back(segment);
  }
  if (error && error != std::errc::no_such_file_or_directory) {
    return fail_errno("list the spool " + directory.string(), error.value());
  }
  std::ranges::sort(segments);
  return segments;
}

std::string read_spool_id(const std::filesystem::path& directory) {
  return read_file(directory / kIdFile).value_or("");
}

Result<Spool> Spool::open(const std::filesystem::path& directory) {
  TRY_VOID(make_directories(directory, 0750));
  TRY(UniqueFd lock, open_file(directory / "lock", O_RDWR | O_CREAT, kSpoolFileMode));
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return fail_errno("lock the spool " + directory.string(), errno);
    return fail(ErrorCode::already_exists,
                fmt::format("another router writes to the spool {}: give each its own --dir", directory.string()));
  }
  std::string id = read_spool_id(directory);
  if (id.empty()) {
    id = random_id();
    TRY_VOID(write_file_atomic(directory / kIdFile, id, kSpoolFileMode));
  }
  return Spool(directory, std::move(id), std::move(lock));
}

}  // namespace hearth::record
