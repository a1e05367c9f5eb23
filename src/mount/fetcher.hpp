// Brings missing pages of pack files: from what the disk still has of an earlier boot, else from the tiers, verified.
#pragma once

#include "base/clock.hpp"
#include "base/metrics.hpp"
#include "base/result.hpp"
#include "mount/chunk_tier.hpp"
#include "mount/demand_gate.hpp"
#include "mount/fetch_event.hpp"
#include "mount/pack_file.hpp"
#include "mount/page_range.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

namespace hearth::mount {

/// How long a reader waits at most, unless told otherwise.
inline constexpr Duration kReadDeadline = seconds(60);

/// Bytes of a pack's plain space that somebody wants.
struct FillRequest {
  std::shared_ptr<PackFile> pack;
  uint64_t offset = 0;  // any bytes: rounded out to pages
  uint64_t length = 0;
  Urgency urgency = Urgency::demand;
  Deadline deadline;  // none: kReadDeadline from now
};

struct FetcherOptions {
  /// In the order they are asked, at least one. Borrowed: they outlive the fetcher.
  std::vector<ChunkTier*> tiers;
  int workers = 32;  // blocking reads at once
  /// Bytes being read or decompressed at once, over all workers.
  uint64_t in_flight_bytes = uint64_t{64} << 20;
  /// A demand read that is smaller than this brings missing neighbours along, up to so many stored bytes. 0: none.
  uint64_t read_around_bytes = uint64_t{256} << 10;
  /// The window ahead of a sequential reader grows up to this many plain bytes. 0: no read-ahead.
  uint64_t read_ahead_bytes = uint64_t{32} << 20;
  /// A reader whose pages are on their way in a bundle waits for that. Borrowed; null: none.
  DemandGate* gate = nullptr;
  MetricRegistry* metrics = nullptr;  // borrowed; null: none
  /// Called in a worker's thread after each read of a tier: keep it short.
  std::function<void(const FetchEvent&)> observer;
};

/// Thread-safe. Threads of its own, which block in the tiers' reads.
///
/// The unit is the chunk: whoever wants a chunk that is on its way already waits for that; a demand for a chunk that
/// waits as prefetch makes it a demand. Demand is always served first; prefetch has a share of the workers and of the
/// bytes, and looks for demand after each range. Missing neighbours are read with one range request, a large demand
/// with several at once. A sequential reader gets a window ahead of it, beyond the end of a pack into PackFile::next.
///
/// Errors a reader sees, and only when nothing else is left: deadline_exceeded, with what kept going wrong; corrupt
/// when every tier has wrong bytes, or none has any; exhausted when the disk is full; internal when the disk fails;
/// cancelled when the fetcher stops. Then the pages stay missing, and may be asked for again.
class Fetcher {
 public:
  explicit Fetcher(FetcherOptions options);
  /// Cancels what is under way, and waits for the workers.
  ~Fetcher();
  Fetcher(const Fetcher&) = delete;
  Fetcher& operator=(const Fetcher&) = delete;

  using Done = std::move_only_function<void(Result<>)>;

  /// Calls `done` once: when every page that holds bytes of the range is present, or with the reason why not. It is
  /// called in this thread when there is nothing to wait for, else in another: it must be quick, and may call fill
  /// again. Demand: every page must belong to a chunk of a registered layer (else invalid_argument). Prefetch: what
  /// belongs to none is left out; unavailable tiers are not asked again and again; exhausted while there is no room for
  /// it.
  void fill(FillRequest request, Done done);
  Result<> fill_and_wait(FillRequest request);

  /// Verifies what the disk has of a chunk, in this thread; what is wrong is dropped and counted. Whether all of the
  /// chunk is present now.
  bool verify_on_disk(PackFile& pack, const PackChunk& chunk);

  /// Whether a reader waits: what can wait had better do so.
  bool has_demand() const;
  /// When a reader last asked for pages that were missing; the epoch of the clock when none ever did.
  MonoTime last_demand() const;
  /// As the destructor, but calls of fill are still answered (cancelled).
  void stop();

 private:
  struct State;
  std::shared_ptr<State> state_;  // a reader that waits at the gate keeps it, too
};

}  // namespace hearth::mount
