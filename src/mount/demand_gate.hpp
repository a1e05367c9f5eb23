// What the fetcher's demand path asks before it goes to the tiers: are these bytes on their way already?
#pragma once

#include "base/digest.hpp"

#include <cstdint>
#include <functional>

namespace hearth::mount {

/// Thread-safe; never blocks.
class DemandGate {
 public:
  virtual ~DemandGate() = default;

  using Again = std::move_only_function<void()>;

  /// For a range of a pack's plain space of which no page is present. False: fetch it; `again` was not touched. True:
  /// it is expected soon and `again` was taken. It is called once, from another thread and perhaps before this returns:
  /// when the range was stored, or when it will not come after all, or after a bounded time. Then look at what is
  /// present, and fetch what is missing without asking again. `again` must be quick: it runs on the stream's own
  /// thread.
  virtual bool wait(const Digest& pack, uint64_t offset, uint64_t length, Again& again) = 0;

  /// Whether pages of this pack are on their way: then nothing of it is fetched on a guess, which might come twice.
  virtual bool expects(const Digest& pack) const = 0;
};

}  // namespace hearth::mount
