#include "policy/restart_backoff.hpp"

#include <gtest/gtest.h>

namespace hearth::policy {
namespace {

const MonoTime kStart{std::chrono::hours(1)};

TEST(RestartBackoff, TheFirstDeathCostsNoTime) {
  RestartBackoff backoff;
  backoff.on_start(kStart);
  EXPECT_EQ(backoff.on_death(kStart + seconds(1)), kStart + seconds(1));
  EXPECT_EQ(backoff.deaths(), 1);
}

TEST(RestartBackoff, RepeatedDeathsWaitEverLongerUpToALimit) {
  RestartBackoff backoff({.first_delay = milliseconds(100), .longest_delay = milliseconds(500), .stable = seconds(10)});
  backoff.on_start(kStart);
  EXPECT_EQ(backoff.on_death(kStart) - kStart, Duration::zero());
  EXPECT_EQ(backoff.on_death(kStart) - kStart, milliseconds(100));
  EXPECT_EQ(backoff.on_death(kStart) - kStart, milliseconds(200));
  EXPECT_EQ(backoff.on_death(kStart) - kStart, milliseconds(400));
  EXPECT_EQ(backoff.on_death(kStart) - kStart, milliseconds(500));
  for (int i = 0; i < 100; ++i) EXPECT_EQ(backoff.on_death(kStart) - kStart, milliseconds(500));
}

TEST(RestartBackoff, ALongLifeBeginsANewCount) {
  RestartBackoff backoff;
  backoff.on_start(kStart);
  for (int i = 0; i < 5; ++i) (void)backoff.on_death(kStart);
  backoff.on_start(kStart);
  const MonoTime later = kStart + seconds(10);
  EXPECT_EQ(backoff.on_death(later), later);
  EXPECT_EQ(backoff.deaths(), 6);
}

}  // namespace
}  // namespace hearth::policy
