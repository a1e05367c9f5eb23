#include "blob/token_bucket.hpp"

#include <algorithm>

namespace hearth::blob {

void TokenBucket::refill(MonoTime now) {
  if (!started_) {
    started_ = true;
    tokens_ = static_cast<double>(burst_);
    refilled_ = now;
    return;
  }
  if (now <= refilled_) return;  // from a thread that read its clock before another came first
  const double elapsed = std::chrono::duration<double>(now - refilled_).count();
  tokens_ = std::min(tokens_ + elapsed * static_cast<double>(rate_), static_cast<double>(burst_));
  refilled_ = now;
}

void TokenBucket::set_rate(uint64_t bytes_per_second, MonoTime now) {
  refill(now);
  rate_ = bytes_per_second;
}

Duration TokenBucket::take(uint64_t bytes, MonoTime now) {
  refill(now);
  if (rate_ == 0) return Duration::zero();
  tokens_ -= static_cast<double>(bytes);
  if (tokens_ >= 0) return Duration::zero();
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(-tokens_ / static_cast<double>(rate_)));
}

}  // namespace hearth::blob
