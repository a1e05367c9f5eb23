// Which reads of a start waited, for what and for how long: the data of `hearth trace cold-start`.
#pragma once

#include "base/clock.hpp"
#include "base/digest.hpp"
#include "mount/chunk_tier.hpp"
#include "mount/content_owners.hpp"
#include "mount/fetch_event.hpp"
#include "mount/page_range.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::mount {

/// A read that had to wait.
struct TracedRead {
  Duration at{};  // since the mount, when it was asked
  Duration wait{};
  Digest pack;
  PageRange range;
  std::string tier;  // where its bytes came from: a ChunkTier's name, "disk", "bundle", or "ahead" (fetched for others)
};

/// Sums of one tier.
struct TierTotals {
  uint64_t fetches = 0;
  uint64_t demand_bytes = 0;    // read from the tier because a reader waited
  uint64_t prefetch_bytes = 0;  // and ahead of readers
  uint64_t waits = 0;
  Duration waited{};  // parallel waits count each
};

/// Thread-safe. Bounded: the first kReads reads are kept, sums go on.
class StartTrace {
 public:
  static constexpr size_t kReads = 20'000;

  StartTrace(MonoTime mounted, WallTime mounted_at) : mounted_(mounted) { sums_.mounted = mounted_at; }

  /// From the fetcher's observer.
  void fetched(const FetchEvent& event, MonoTime now);
  /// A read of these pages was asked at `asked` and answered at `answered`, after waiting.
  /// `expected`: a bundle was bringing them.
  enum class Expected { no, yes };
  void waited(const Digest& pack, const PageRange& range, MonoTime asked, MonoTime answered, Expected expected);
  /// A read that found everything present.
  void hit(uint64_t bytes);

  struct Snapshot {
    WallTime mounted;
    std::vector<TracedRead> reads;  // in the order in which they were answered
    uint64_t left_out = 0;          // reads that waited, beyond kReads
    uint64_t hits = 0;
    uint64_t hit_bytes = 0;
    std::map<std::string, TierTotals> tiers;
  };
  Snapshot snapshot() const;

 private:
  static constexpr size_t kRecentFetches = 256;
  struct RecentFetch {
    Digest pack;
    PageRange plain;
    std::string_view tier;
    MonoTime at;
    Urgency urgency = Urgency::demand;
  };
  std::string_view tier_of(const Digest& pack, const PageRange& range, MonoTime asked) const;

  const MonoTime mounted_;
  mutable std::mutex mutex_;
  std::deque<RecentFetch> recent_;
  Snapshot sums_;
};

/// JSON of at most `max_bytes` (docs/formats/imagefs.md): when not all reads fit, the longest waits are told. `bundle`
/// is a JSON value to be put in as it is ("null").
std::string to_json(const StartTrace::Snapshot& trace, const ContentOwners& owners, std::string_view bundle,
                    size_t max_bytes);

}  // namespace hearth::mount
