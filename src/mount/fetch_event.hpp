// One finished read of a tier, for traces.
#pragma once

#include "base/clock.hpp"
#include "base/digest.hpp"
#include "mount/chunk_tier.hpp"
#include "mount/page_range.hpp"

#include <cstdint>
#include <string_view>

namespace hearth::mount {

struct FetchEvent {
  Digest pack;
  PageRange plain;        // from the first to the last page that was asked for
  std::string_view tier;  // "disk": candidates; else ChunkTier::name
  uint64_t bytes = 0;     // read from the tier
  Duration queued{};      // since it was asked for
  Duration fetched{};     // reading, without decompressing and storing
  Urgency urgency = Urgency::demand;
};

}  // namespace hearth::mount
