// How fast one version's queue drains, learned from finished rows. Pure.
#pragma once

#include "base/clock.hpp"

#include <algorithm>
#include <cstdint>
#include <optional>

namespace hearth::policy {

/// Little's law: rows a second = rows outstanding at once / mean time of a row from dispatch to result. Measured
/// at the limit this is exact; below it it is too high at most by (limit / slots) and corrects itself within a
/// few rows of the first burst.
class DrainRate {
 public:
  void row_answered(Duration latency) {
    samples_ = std::min(samples_ + 1, kWindow);
    const double value = std::max(1e-6, std::chrono::duration<double>(latency).count());
    mean_seconds_ += (value - mean_seconds_) / samples_;
  }

  /// `limit` = rows that may be outstanding; 0 (nothing runs now) keeps the last one.
  void set_limit(uint32_t limit) {
    if (limit > 0) limit_ = limit;
  }

  bool known() const { return samples_ > 0; }
  /// Time a row takes from dispatch to result; zero while unknown.
  Duration service_time() const { return to_duration(mean_seconds_); }
  /// Time to drain `rows`; zero while nothing is known, since a guess must not refuse anybody.
  Duration time_for(uint64_t rows) const {
    return to_duration(static_cast<double>(rows) * mean_seconds_ / std::max<uint32_t>(limit_, 1));
  }

 private:
  static constexpr int kWindow = 32;  // rows the mean looks back on: a heavy tail counts, an old regime does not
  static Duration to_duration(double seconds) {
    constexpr double kLongest = 1e6;
    return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(std::min(seconds, kLongest)));
  }

  int samples_ = 0;
  double mean_seconds_ = 0;
  uint32_t limit_ = 1;
};

}  // namespace hearth::policy
