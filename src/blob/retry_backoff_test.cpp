#include "blob/retry_backoff.hpp"

#include <gtest/gtest.h>

namespace hearth::blob {
namespace {

constexpr MonoTime kStart{std::chrono::hours(1)};
constexpr RetryLimits kLimits{.first = milliseconds(100), .longest = seconds(1), .total = seconds(10)};

TEST(RetryBackoff, DoublesUpToALimit) {
  RetryBackoff backoff(kLimits);
  for (const Duration bound : {milliseconds(100), milliseconds(200), milliseconds(400), milliseconds(800),
                               milliseconds(1000), milliseconds(1000)}) {
    const auto wait = backoff.next(kStart, 0.5);
    ASSERT_TRUE(wait);
    EXPECT_EQ(*wait, bound / 2);
  }
}

TEST(RetryBackoff, ChanceSpreadsItOverTheWholeWait) {
  EXPECT_EQ(RetryBackoff(kLimits).next(kStart, 0.0), Duration::zero());
  EXPECT_EQ(RetryBackoff(kLimits).next(kStart, 0.99), milliseconds(99));
}

TEST(RetryBackoff, GivesUpWhenItsTimeIsOver) {
  RetryBackoff backoff(kLimits);
  EXPECT_TRUE(backoff.next(kStart, 0.5));
  EXPECT_TRUE(backoff.next(kStart + seconds(9), 0.5));
  EXPECT_FALSE(backoff.next(kStart + seconds(10), 0.5));
}

TEST(RetryBackoff, WaitsAsLongAsTheServerAsksIfThatIsWithinItsTime) {
  EXPECT_EQ(RetryBackoff(kLimits).next(kStart, 0.5, seconds(3)), seconds(3));
  EXPECT_FALSE(RetryBackoff(kLimits).next(kStart, 0.5, seconds(11)));
}

TEST(RetryBackoff, StartsAnewAfterSomethingWorked) {
  RetryBackoff backoff(kLimits);
  EXPECT_TRUE(backoff.next(kStart, 0.5));
  EXPECT_TRUE(backoff.next(kStart + seconds(9), 0.5));
  backoff.reset();
  EXPECT_EQ(backoff.next(kStart + seconds(30), 0.5), milliseconds(50));
}

}  // namespace
}  // namespace hearth::blob
