#include "policy/restart_backoff.hpp"

#include <algorithm>

namespace hearth::policy {

MonoTime RestartBackoff::on_death(MonoTime now) {
  ++deaths_;
  in_a_row_ = now - started_ >= limits_.stable ? 1 : in_a_row_ + 1;
  if (in_a_row_ == 1) return now;
  constexpr int kDoublingsMax = 20;  // far beyond the longest delay, far from overflow
  const Duration delay = limits_.first_delay * (int64_t{1} << std::min(in_a_row_ - 2, kDoublingsMax));
  return now + std::min(delay, limits_.longest_delay);
}

}  // namespace hearth::policy
