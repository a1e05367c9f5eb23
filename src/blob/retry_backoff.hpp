// How long to wait before a request is made again, and when to give up. Pure: time and chance are arguments.
#pragma once

#include "base/clock.hpp"

#include <optional>

namespace hearth::blob {

struct RetryLimits {
  Duration first = milliseconds(50);  // doubled each time …
  Duration longest = seconds(4);      // … up to this
  Duration total = seconds(20);       // from the first failure on
};

/// Exponential with full jitter: clients that failed together do not come back together.
class RetryBackoff {
 public:
  explicit RetryBackoff(const RetryLimits& limits = {}) : limits_(limits) {}

  /// After a failure at `now`: how long to wait, or nothing to give up. `chance` is in [0, 1). The server may have
  /// asked for a longer wait; one longer than what is left of `total` is giving up.
  std::optional<Duration> next(MonoTime now, double chance, Duration server_asks = {});
  /// Something worked: the next failure is a first one.
  void reset();

 private:
  RetryLimits limits_;
  int failures_ = 0;
  MonoTime first_failure_{};
};

}  // namespace hearth::blob
