// When a replica nobody calls is frozen, and when it is stopped. A pure function of times.
#pragma once

#include "base/clock.hpp"

#include <optional>

namespace hearth::policy {

/// Zero means never.
struct IdleLimits {
  Duration pause = std::chrono::minutes(5);
  Duration stop = std::chrono::minutes(60);
};

enum class IdleVerdict { keep, pause, stop };

struct IdleDecision {
  IdleVerdict verdict = IdleVerdict::keep;
  std::optional<MonoTime> next;  // when to ask again, if nothing happens before
};

/// `idle_since`: when the last request ended, or the replica became ready.
IdleDecision idle_decision(const IdleLimits& limits, MonoTime idle_since, MonoTime now);

}  // namespace hearth::policy
