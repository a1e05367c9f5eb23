#include "blob/retry_backoff.hpp"

#include <algorithm>

namespace hearth::blob {

namespace {

constexpr int kMostDoublings = 20;

}  // namespace

std::optional<Duration> RetryBackoff::next(MonoTime now, double chance, Duration server_asks) {
  if (failures_ == 0) first_failure_ = now;
  const Duration bound = std::min(limits_.first * (int64_t{1} << std::min(failures_, kMostDoublings)), limits_.longest);
  ++failures_;
  const auto drawn = std::chrono::duration_cast<Duration>(
      std::chrono::duration<double, Duration::period>(static_cast<double>(bound.count()) * chance));
  const Duration wait = std::max(drawn, server_asks);
  if (now + wait - first_failure_ > limits_.total) return std::nullopt;
  return wait;
}

void RetryBackoff::reset() {
  failures_ = 0;
}

}  // namespace hearth::blob
