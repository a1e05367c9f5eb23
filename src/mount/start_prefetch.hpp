// Fetches what a start without a bundle will read next, as Neighbours says, while it runs.
#pragma once

#include "base/digest.hpp"
#include "mount/bundle_stream.hpp"
#include "mount/cached_layer.hpp"
#include "mount/fetcher.hpp"
#include "mount/neighbours.hpp"
#include "mount/page_range.hpp"
#include "mount/prefetch_queue.hpp"

#include <cstdint>
#include <memory>

namespace hearth::mount {

struct StartPrefetchOptions {
  std::shared_ptr<CachedLayer> layer;
  Fetcher* fetcher = nullptr;  // borrowed
  /// Borrowed; null: none. A start that a bundle serves is left alone, unless reads wait after its end all the same.
  const BundleStream* bundle = nullptr;
  NeighbourLimits limits{};
  PrefetchLimits runs{};
  int runs_at_once = 24;
};

/// Thread-safe. One thread, which waits until it is known whether a bundle comes. What is under way when this object
/// goes away is fetched all the same; nothing follows it.
class StartPrefetch {
 public:
  /// So many reads had to wait after the bundle: the workload is another one by now.
  static constexpr uint64_t kWaitsAfterBundle = 8;

  explicit StartPrefetch(StartPrefetchOptions options);
  ~StartPrefetch();
  StartPrefetch(const StartPrefetch&) = delete;
  StartPrefetch& operator=(const StartPrefetch&) = delete;

  enum class Waited { no, yes };
  /// A read of these pages; quick.
  void touched(const Digest& pack, const PageRange& range, Waited waited);

  struct Counts {
    Neighbours::Counts advice;
    uint64_t runs = 0;    // fetched, or found present
    uint64_t failed = 0;  // of them
  };
  Counts counts() const;

 private:
  struct State;
  std::shared_ptr<State> state_;  // a run under way keeps it, too
};

}  // namespace hearth::mount
