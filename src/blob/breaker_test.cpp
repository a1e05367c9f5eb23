#include "blob/breaker.hpp"

#include <gtest/gtest.h>

namespace hearth::blob {
namespace {

constexpr MonoTime kStart{std::chrono::hours(1)};
constexpr BreakerLimits kLimits{.failures = 3, .first_rest = seconds(2), .longest_rest = seconds(10)};

void fail_times(Breaker& breaker, int times, MonoTime now) {
  for (int i = 0; i < times; ++i) {
    ASSERT_TRUE(breaker.may_try(now));
    breaker.on_failure(now);
  }
}

TEST(Breaker, OpensAfterFailuresInARow) {
  Breaker breaker(kLimits);
  fail_times(breaker, 2, kStart);
  breaker.on_success();
  fail_times(breaker, 3, kStart);
  EXPECT_FALSE(breaker.may_try(kStart));
  EXPECT_FALSE(breaker.may_try(kStart + milliseconds(1999)));
}

TEST(Breaker, LetsOneTryAfterTheRest) {
  Breaker breaker(kLimits);
  fail_times(breaker, 3, kStart);
  EXPECT_TRUE(breaker.may_try(kStart + seconds(2)));
  EXPECT_FALSE(breaker.may_try(kStart + seconds(2))) << "only one";
  breaker.on_success();
  EXPECT_TRUE(breaker.may_try(kStart + seconds(2)));
  EXPECT_FALSE(breaker.open());
}

TEST(Breaker, RestsLongerEachTimeUpToALimit) {
  Breaker breaker(kLimits);
  fail_times(breaker, 3, kStart);
  MonoTime now = kStart;
  for (const Duration rest : {seconds(2), seconds(4), seconds(8), seconds(10), seconds(10)}) {
    EXPECT_FALSE(breaker.may_try(now + rest - milliseconds(1)));
    now += rest;
    EXPECT_TRUE(breaker.may_try(now));
    breaker.on_failure(now);
  }
}

TEST(Breaker, LateFailuresOfTriesFromBeforeChangeNothing) {
  Breaker breaker(kLimits);
  fail_times(breaker, 3, kStart);
  for (int i = 0; i < 20; ++i) breaker.on_failure(kStart + seconds(1));
  EXPECT_TRUE(breaker.may_try(kStart + seconds(2)));
}

TEST(Breaker, ATryWithoutOutcomeLetsTheNextOneTry) {
  Breaker breaker(kLimits);
  fail_times(breaker, 3, kStart);
  ASSERT_TRUE(breaker.may_try(kStart + seconds(2)));
  breaker.on_nothing();
  EXPECT_TRUE(breaker.may_try(kStart + seconds(2)));
}

}  // namespace
}  // namespace hearth::blob
