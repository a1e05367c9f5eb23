// A wall time from a number that was read from outside.
#pragma once

#include "base/clock.hpp"

#include <algorithm>
#include <chrono>

namespace hearth {

/// What the clock cannot hold becomes its nearest end: 1970, or 2262.
template <class Rep, class Period>
WallTime wall_at(std::chrono::duration<Rep, Period> since_epoch) {
  using Given = std::chrono::duration<Rep, Period>;
  const auto last = std::chrono::floor<Given>(WallTime::max().time_since_epoch());
  return WallTime(std::clamp(since_epoch, Given::zero(), last));
}

}  // namespace hearth
