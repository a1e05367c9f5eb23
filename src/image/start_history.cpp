#include "image/start_history.hpp"

#include "base/little_endian.hpp"

#include <zstd.h>

#include <algorithm>
#include <iterator>
#include <memory>
#include <new>
#include <span>
#include <tuple>
#include <vector>

namespace hearth::image {

namespace {

constexpr uint32_t kHistoryVersion = 1;
constexpr size_t kRunBytes = 8;
constexpr int kHistoryLevel = 6;  // zstd; the starts of one workload resemble each other, and nobody waits
/// Within so many bytes of the order pages are sorted by place. Reads alternate between places (a table of relocations
/// and what is relocated): for the import of TensorFlow this makes 32 thousand runs of 50, and the stream 2 % smaller,
/// while nothing comes later than a few milliseconds.
constexpr uint64_t kOrderBytes = 1024 * 1024;
constexpr uint64_t kMaxRuns = kMaxRecordedBytes / kPageBytes;
constexpr uint64_t kMaxDecodedBytes = 8 + kHistoryStarts * (4 + kMaxRuns * kRunBytes);

Unexpected broken(std::string_view rule) {
  return fail(ErrorCode::corrupt, "history of starts: " + std::string(rule));
}

/// Where one page was in one start.
struct Sighting {
  uint32_t chunk;
  uint32_t page;
  uint32_t start;     // 0 is the oldest
  uint64_t position;  // pages asked for before it
};

std::vector<Sighting> sightings(const StartHistory& history) {
  std::vector<Sighting> all;
  for (uint32_t start = 0; start < history.starts.size(); ++start) {
    uint64_t position = 0;
    for (const PageRun& run : history.starts[start]) {
      for (uint32_t i = 0; i < run.pages; ++i) all.push_back({run.chunk, run.first + i, start, position++});
    }
  }
  std::ranges::sort(all, {}, [](const Sighting& s) { return std::tie(s.chunk, s.page, s.start, s.position); });
  return all;
}

struct Candidate {
  uint64_t place;  // in the order, coarsely
  uint32_t chunk;
  uint32_t page;
};

/// The sightings of one page, by start.
bool is_wanted(std::span<const Sighting> seen, size_t starts) {
  if (starts <= 2 || seen.back().start + 1 == starts) return true;
  return seen.back().start != seen.front().start;
}

uint64_t median_position(std::span<const Sighting> seen) {
  std::vector<uint64_t> positions;
  for (const Sighting& sighting : seen) positions.push_back(sighting.position);
  const auto middle = positions.begin() + static_cast<ptrdiff_t>((positions.size() - 1) / 2);
  std::ranges::nth_element(positions, middle);
  return *middle;
}

}  // namespace

void remember(StartHistory& history, PageRuns start) {
  uint64_t bytes = 0;
  const auto beyond = std::ranges::find_if(start, [&bytes](const PageRun& run) {
    bytes += bytes_of(run);
    return bytes > kMaxRecordedBytes;
  });
  start.erase(beyond, start.end());
  history.starts.push_back(std::move(start));
  while (history.starts.size() > kHistoryStarts) history.starts.pop_front();
}

PageRuns select_pages(const StartHistory& history) {
  const std::vector<Sighting> all = sightings(history);
  std::vector<Candidate> wanted;
  for (size_t first = 0; first < all.size();) {
    size_t last = first + 1;
    while (last < all.size() && all[last].chunk == all[first].chunk && all[last].page == all[first].page) ++last;
    const auto seen = std::span(all).subspan(first, last - first);
    if (is_wanted(seen, history.starts.size())) {
      wanted.push_back({median_position(seen) * kPageBytes / kOrderBytes, all[first].chunk, all[first].page});
    }
    first = last;
  }
  std::ranges::sort(wanted, {}, [](const Candidate& c) { return std::tie(c.place, c.chunk, c.page); });

  PageRuns runs;
  uint64_t bytes = 0;
  for (const Candidate& page : wanted) {
    bytes += kPageBytes;
    if (bytes > kMaxRecordedBytes) break;
    if (!runs.empty() && runs.back().chunk == page.chunk &&
        uint32_t{runs.back().first} + runs.back().pages == page.page) {
      ++runs.back().pages;
    } else {
      runs.push_back({page.chunk, static_cast<uint16_t>(page.page), 1});
    }
  }
  return runs;
}

Coverage coverage(const PageRuns& asked, const PageRuns& bundle) {
  const PageSet wanted(asked);
  const PageSet held(bundle);
  const auto met = static_cast<double>(wanted.pages_in_both(held));
  return {.recall = wanted.pages() == 0 ? 1 : met / static_cast<double>(wanted.pages()),
          .precision = held.pages() == 0 ? 1 : met / static_cast<double>(held.pages())};
}

std::string encode(const StartHistory& history) {
  CHECK_PROMISE(history.starts.size() <= kHistoryStarts);
  std::string plain;
  append_le<uint32_t>(plain, kHistoryVersion);
  append_le<uint32_t>(plain, static_cast<uint32_t>(history.starts.size()));
  for (const PageRuns& start : history.starts) {
    append_le<uint32_t>(plain, static_cast<uint32_t>(start.size()));
    for (const PageRun& run : start) {
      append_le<uint32_t>(plain, run.chunk);
      append_le<uint16_t>(plain, run.first);
      append_le<uint16_t>(plain, run.pages);
    }
  }
  const std::unique_ptr<ZSTD_CCtx, size_t (*)(ZSTD_CCtx*)> zstd(::ZSTD_createCCtx(), &::ZSTD_freeCCtx);
  if (!zstd) throw std::bad_alloc();
  CHECK_PROMISE(::ZSTD_isError(::ZSTD_CCtx_setParameter(zstd.get(), ZSTD_c_compressionLevel, kHistoryLevel)) == 0);
  CHECK_PROMISE(::ZSTD_isError(::ZSTD_CCtx_setParameter(zstd.get(), ZSTD_c_checksumFlag, 1)) == 0);
  std::string packed;
  packed.resize_and_overwrite(::ZSTD_compressBound(plain.size()), [&plain, &zstd](char* buffer, size_t capacity) {
    const size_t size = ::ZSTD_compress2(zstd.get(), buffer, capacity, plain.data(), plain.size());
    CHECK_PROMISE(::ZSTD_isError(size) == 0);
    return size;
  });
  return packed;
}

Result<StartHistory> decode_history(std::string_view bytes) {
  const auto size = ::ZSTD_getFrameContentSize(bytes.data(), bytes.size());
  if (size == ZSTD_CONTENTSIZE_UNKNOWN || size == ZSTD_CONTENTSIZE_ERROR || size < 8 || size > kMaxDecodedBytes) {
    return broken("not a zstd frame of a possible size");
  }
  std::string plain;
  plain.resize_and_overwrite(static_cast<size_t>(size), [bytes](char* buffer, size_t capacity) {
    const size_t got = ::ZSTD_decompress(buffer, capacity, bytes.data(), bytes.size());
    return ::ZSTD_isError(got) != 0 ? size_t{0} : got;
  });
  if (plain.size() != size) return broken("damaged");
  if (load_le<uint32_t>(plain, 0) != kHistoryVersion) return broken("unknown version");
  const auto starts = load_le<uint32_t>(plain, 4);
  if (starts > kHistoryStarts) return broken("too many starts");

  StartHistory history;
  size_t at = 8;
  for (uint32_t i = 0; i < starts; ++i) {
    if (plain.size() - at < 4) return broken("cut");
    const auto count = load_le<uint32_t>(plain, at);
    at += 4;
    if (count > kMaxRuns || (plain.size() - at) / kRunBytes < count) return broken("cut");
    PageRuns runs;
    runs.reserve(count);
    uint64_t total = 0;
    for (uint32_t n = 0; n < count; ++n, at += kRunBytes) {
      const PageRun run{load_le<uint32_t>(plain, at), load_le<uint16_t>(plain, at + 4),
                        load_le<uint16_t>(plain, at + 6)};
      if (!is_valid(run)) return broken("a run of pages that no chunk has");
      total += bytes_of(run);
      runs.push_back(run);
    }
    if (total > kMaxRecordedBytes) return broken("a start of more bytes than are recorded");
    history.starts.push_back(std::move(runs));
  }
  if (at != plain.size()) return broken("bytes after its end");
  return history;
}

}  // namespace hearth::image
