// The blocking half of the fetcher: a run of chunks is verified on disk or read from the tiers in turn, and stored.
#pragma once

#include "base/clock.hpp"
#include "base/metrics.hpp"
#include "base/result.hpp"
#include "mount/chunk_decoder.hpp"
#include "mount/chunk_tier.hpp"
#include "mount/fetch_event.hpp"
#include "mount/pack_file.hpp"

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace hearth::mount {

/// Bit i: block i of a chunk.
using BlockMask = uint32_t;
static_assert(image::kChunkBytes / kBlockBytes <= 32);
inline constexpr BlockMask kAllBlocks = ~BlockMask{0};

/// The blocks of a chunk that have bytes in the range.
BlockMask blocks_in(const PackChunk& chunk, const PageRange& range);
/// Whether the pages of these blocks are present.
bool blocks_present(const PackFile& pack, const PackChunk& chunk, BlockMask blocks);

/// Neighbours in one pack, in its order.
struct FetchRun {
  struct Item {
    PackChunk chunk;
    BlockMask wanted = kAllBlocks;
    /// The first page is left a candidate, so that a reader's arrival there is seen (ReadAheadPlan).
    bool mark = false;
  };
  std::shared_ptr<PackFile> pack;
  std::vector<Item> items;
  Urgency urgency = Urgency::demand;
  uint32_t round = 0;  // see ChunkRead
  Deadline deadline;
  MonoTime asked;
};

/// What became of a chunk.
struct FetchFailure {
  enum class Kind {
    trouble,  // some tier could not be asked: repeating may help
    wrong,    // every tier that had bytes had wrong ones
    missing,  // no tier has the pack
    local,    // our own disk refused the bytes
  } kind;
  Error error;
};

/// Thread-safe; blocks.
class TierReader {
 public:
  struct Options {
    std::vector<ChunkTier*> tiers;      // borrowed
    MetricRegistry* metrics = nullptr;  // borrowed; null: none
    std::function<void(const FetchEvent&)> observer;
    unsigned decoders = 0;  // 0: one a core
  };
  explicit TierReader(Options options);

  /// Verifies those candidates that the wanted blocks need; what is wrong is dropped. Whether all of these blocks are
  /// present now (of a marked item: but for the first page, which is left a candidate).
  bool verify_on_disk(PackFile& pack, const FetchRun::Item& item);

  /// Calls landed(i) for each item as soon as it is stored; returns why for the others, by number.
  std::vector<std::optional<FetchFailure>> fetch(const FetchRun& run, const std::function<void(size_t)>& landed,
                                                 const std::stop_token& stop);

 private:
  struct TierMetrics {
    Counter* reads = nullptr;
    Counter* bytes = nullptr;
    Counter* failures = nullptr;
    Counter* corrupt = nullptr;
  };
  struct Attempt;
  TierMetrics metrics_of(std::string_view tier);
  void read_group(Attempt& attempt, ChunkTier& tier, std::span<const size_t> group);
  void take_bytes(Attempt& attempt, std::string_view source, std::span<const size_t> group, const ChunkBytes& answer);
  Result<> store(PackFile& pack, const FetchRun::Item& item, std::string_view plain);
  void count_corrupt(std::string_view tier, const Digest& pack, const std::string& what);

  Options options_;
  DecodeCrew crew_;
  std::unordered_map<std::string_view, TierMetrics> metrics_;
  std::atomic<int64_t> logged_second_{0};
  std::atomic<int> logged_{0};
};

}  // namespace hearth::mount
