#include "blob/bandwidth_limiter.hpp"

#include <algorithm>
#include <condition_variable>

namespace hearth::blob {

void BandwidthLimiter::set_rate(uint64_t bytes_per_second) {
  const std::lock_guard lock(mutex_);
  bucket_.set_rate(bytes_per_second, mono_now());
}

Result<> BandwidthLimiter::take(uint64_t bytes, const Patience& patience) {
  Duration wait{};
  {
    const std::lock_guard lock(mutex_);
    wait = bucket_.take(bytes, mono_now());
  }
  return wait_for(wait, patience);
}

Result<> wait_for(Duration duration, const Patience& patience) {
  const MonoTime now = mono_now();
  MonoTime until = now + std::max(duration, Duration::zero());
  const bool too_long = patience.deadline.at() && *patience.deadline.at() < until;
  if (too_long) until = *patience.deadline.at();
  if (until > now && !patience.stop.stop_requested()) {
    std::mutex mutex;
    std::condition_variable_any condition;
    std::unique_lock lock(mutex);
    condition.wait_until(lock, patience.stop, until, [] { return false; });
  }
  if (patience.stop.stop_requested()) return fail(ErrorCode::cancelled, "no longer wanted");
  if (too_long) return fail(ErrorCode::deadline_exceeded, "the time for it ran out");
  return {};
}

}  // namespace hearth::blob
