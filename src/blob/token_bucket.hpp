// How long to wait so that bytes flow at a given rate. Pure: the time is an argument.
#pragma once

#include "base/clock.hpp"

#include <cstdint>

namespace hearth::blob {

/// Takes are served in the order of their calls: each reserves its bytes and is told how long to wait for them, so that
/// a large take delays those behind it, never for ever. Up to `burst` unused bytes are kept. Not thread-safe.
class TokenBucket {
 public:
  /// Rate 0: no limit.
  TokenBucket(uint64_t bytes_per_second, uint64_t burst_bytes) : rate_(bytes_per_second), burst_(burst_bytes) {}

  /// From `now` on; what is already reserved stays reserved.
  void set_rate(uint64_t bytes_per_second, MonoTime now);
  /// How long from `now` until these bytes may flow.
  Duration take(uint64_t bytes, MonoTime now);

 private:
  void refill(MonoTime now);

  uint64_t rate_;
  uint64_t burst_;
  double tokens_ = 0;  // negative: reserved beyond what has come in
  MonoTime refilled_{};
  bool started_ = false;
};

}  // namespace hearth::blob
