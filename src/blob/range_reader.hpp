// Reads ranges of a store's objects with many requests in flight, and sends a second one for a straggler.
#pragma once

#include "blob/hedge_policy.hpp"
#include "blob/object_store.hpp"
#include "blob/range_source.hpp"

#include <atomic>
#include <cstdint>
#include <memory>

namespace hearth::blob {

struct RangeReaderOptions {
  int connections = 32;           // requests in flight at once, over all callers
  int prefetch_connections = 16;  // of those, how many prefetch may have; the rest is always free for demand reads
  uint64_t piece_bytes = uint64_t{4} << 20;  // a range of two pieces or more is read in pieces …
  int pieces_at_once = 4;                    // … so many at once
  HedgeLimits hedge{};
};

struct RangeReaderCounts {
  uint64_t requests = 0;
  uint64_t bytes = 0;  // delivered to callers
  uint64_t hedges = 0;
  uint64_t hedges_won = 0;  // the second request was first
};

/// One a process and store. A read runs in its caller's thread; when it takes longer than nearly all recent ones of its
/// size, a second request for the same bytes is made in another thread, within a budget (HedgePolicy). The first answer
/// wins and the other request is cancelled. Stores that are no network service are never hedged.
class RangeReader final : public RangeSource {
 public:
  explicit RangeReader(std::shared_ptr<ObjectStore> store, RangeReaderOptions options = {});
  /// No read may be under way.
  ~RangeReader() override;
  RangeReader(const RangeReader&) = delete;
  RangeReader& operator=(const RangeReader&) = delete;

  Result<std::string> read(std::string_view key, uint64_t offset, uint64_t length, const ReadOptions& options) override;
  Result<> stream(std::string_view key, ByteRange range, const ByteSink& sink, const ReadOptions& options) override;

  RangeReaderCounts counts() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace hearth::blob
