#include "policy/idle_policy.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace hearth::policy {
namespace {

constexpr auto kPause = seconds(300);
constexpr auto kStop = seconds(3600);

struct Case {
  std::string name;
  IdleLimits limits;
  seconds idle;
  IdleVerdict verdict;
  std::optional<seconds> next;  // since the replica became idle
};

TEST(IdlePolicy, PausesThenStops) {
  const std::vector<Case> cases = {
      {"just idle", {kPause, kStop}, seconds(0), IdleVerdict::keep, kPause},
      {"shortly before the pause", {kPause, kStop}, seconds(299), IdleVerdict::keep, kPause},
      {"at the pause", {kPause, kStop}, seconds(300), IdleVerdict::pause, kStop},
      {"long paused", {kPause, kStop}, seconds(3599), IdleVerdict::pause, kStop},
      {"at the stop", {kPause, kStop}, seconds(3600), IdleVerdict::stop, std::nullopt},
      {"never paused", {seconds(0), kStop}, seconds(900), IdleVerdict::keep, kStop},
      {"never stopped", {kPause, seconds(0)}, seconds(999999), IdleVerdict::pause, std::nullopt},
      {"neither", {seconds(0), seconds(0)}, seconds(999999), IdleVerdict::keep, std::nullopt},
      {"stopped before it would be paused", {kStop, kPause}, seconds(10), IdleVerdict::keep, kPause},
  };
  const MonoTime idle_since{seconds(1000)};
  for (const Case& c : cases) {
    const IdleDecision decision = idle_decision(c.limits, idle_since, idle_since + c.idle);
    EXPECT_EQ(decision.verdict, c.verdict) << c.name;
    EXPECT_EQ(decision.next.has_value(), c.next.has_value()) << c.name;
    if (decision.next && c.next) {
      EXPECT_EQ(*decision.next, idle_since + *c.next) << c.name;
    }
  }
}

}  // namespace
}  // namespace hearth::policy
