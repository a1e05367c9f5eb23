#include "policy/idle_policy.hpp"

namespace hearth::policy {

IdleDecision idle_decision(const IdleLimits& limits, MonoTime idle_since, MonoTime now) {
  const Duration idle = now - idle_since;
  if (limits.stop > Duration::zero() && idle >= limits.stop) return {IdleVerdict::stop, std::nullopt};
  std::optional<MonoTime> stop_at;
  if (limits.stop > Duration::zero()) stop_at = idle_since + limits.stop;
  if (limits.pause <= Duration::zero()) return {IdleVerdict::keep, stop_at};
  if (idle >= limits.pause) return {IdleVerdict::pause, stop_at};
  const MonoTime pause_at = idle_since + limits.pause;
  return {IdleVerdict::keep, stop_at && *stop_at < pause_at ? *stop_at : pause_at};
}

}  // namespace hearth::policy
