// A token bucket that makes threads wait: the bandwidth limit of prefetch.
#pragma once

#include "base/result.hpp"
#include "blob/object_store.hpp"
#include "blob/token_bucket.hpp"

#include <cstdint>
#include <mutex>

namespace hearth::blob {

/// Thread-safe; shared by all that have one limit together.
class BandwidthLimiter {
 public:
  /// Rate 0: no limit.
  explicit BandwidthLimiter(uint64_t bytes_per_second, uint64_t burst_bytes = kBurstBytes)
      : bucket_(bytes_per_second, burst_bytes) {}

  void set_rate(uint64_t bytes_per_second);
  /// Returns when these bytes may flow; cancelled or deadline_exceeded when the caller's patience ends first.
  Result<> take(uint64_t bytes, const Patience& patience);

  static constexpr uint64_t kBurstBytes = uint64_t{4} << 20;

 private:
  std::mutex mutex_;
  TokenBucket bucket_;
};

/// Sleeps; cancelled or deadline_exceeded when the patience ends first.
Result<> wait_for(Duration duration, const Patience& patience);

}  // namespace hearth::blob
