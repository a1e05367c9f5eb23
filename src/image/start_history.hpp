// What the last starts of one workload read of one layer, and what follows from it for the next bundle. Pure.
// The encoded form is the last part of a bundle object (docs/formats/bundle.md).
#pragma once

#include "base/result.hpp"
#include "image/page_run.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

namespace hearth::image {

/// Starts that are remembered; a page none of them asked for is forgotten.
inline constexpr size_t kHistoryStarts = 5;
/// What one start may contribute. Beyond this it reads a great deal in sequence, where a bundle gains nothing.
inline constexpr uint64_t kMaxRecordedBytes = uint64_t{1} << 30;

/// Oldest first. Each start: its pages in the order of first access, none twice.
struct StartHistory {
  std::deque<PageRuns> starts;
  bool operator==(const StartHistory&) const = default;
};

/// Adds the newest start and forgets the oldest beyond kHistoryStarts. Runs beyond kMaxRecordedBytes are cut off.
void remember(StartHistory& history, PageRuns start);

/// What a bundle for the next start holds, in its order: every page that the newest start asked for, or at least two of
/// the remembered ones, or any one as long as there are no more than two; ordered by the median of the positions (bytes
/// asked for before it) that the page had in the starts that asked for it, to the MiB, and by place within that.
PageRuns select_pages(const StartHistory& history);

/// How well a bundle met a start: shares of pages, 0..1; 1 where there was nothing to share.
struct Coverage {
  double recall = 0;     // of what was asked for, the share that the bundle held
  double precision = 0;  // of what the bundle held, the share that was asked for
};
Coverage coverage(const PageRuns& asked, const PageRuns& bundle);

inline constexpr double kGoodRecall = 0.95;
inline constexpr double kGoodPrecision = 0.7;
/// A start that was met no better than this teaches something: a new bundle is worth its bytes.
inline bool is_poor(const Coverage& met) {
  return met.recall < kGoodRecall || met.precision < kGoodPrecision;
}

std::string encode(const StartHistory& history);
/// Total: any bytes may come. corrupt with the rule that is broken.
Result<StartHistory> decode_history(std::string_view bytes);

}  // namespace hearth::image
