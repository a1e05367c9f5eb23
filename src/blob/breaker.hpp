// Leaves alone what keeps failing, and looks again after a while. Pure: the time is an argument.
#pragma once

#include "base/clock.hpp"

namespace hearth::blob {

struct BreakerLimits {
  int failures = 3;                  // in a row, until it opens
  Duration first_rest = seconds(2);  // doubled each time a try fails
  Duration longest_rest = seconds(60);
};

/// Closed: everything may try. Open: nothing may, until the rest is over; then one may, and its outcome decides.
/// Not thread-safe.
class Breaker {
 public:
  explicit Breaker(const BreakerLimits& limits = {}) : limits_(limits) {}

  /// Whether to try now. Who is told yes reports the outcome by one of the others.
  bool may_try(MonoTime now);
  void on_success();
  void on_failure(MonoTime now);
  /// The try ended without an outcome (its caller gave up).
  void on_nothing();

  bool open() const { return rest_ > Duration::zero(); }

 private:
  BreakerLimits limits_;
  int failed_ = 0;
  Duration rest_{};  // zero: closed
  MonoTime until_{};
  bool trying_ = false;  // the one try after a rest is under way
};

}  // namespace hearth::blob
