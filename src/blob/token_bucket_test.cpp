#include "blob/token_bucket.hpp"

#include <gtest/gtest.h>

namespace hearth::blob {
namespace {

constexpr MonoTime kStart{std::chrono::hours(1)};

TEST(TokenBucket, LetsABurstThroughAndThenTheRate) {
  TokenBucket bucket(1000, 500);
  EXPECT_EQ(bucket.take(500, kStart), Duration::zero());
  EXPECT_EQ(bucket.take(1000, kStart), seconds(1));
  EXPECT_EQ(bucket.take(1000, kStart), seconds(2)) << "behind the one before";
}

TEST(TokenBucket, KeepsTheRateOverALongTime) {
  TokenBucket bucket(1'000'000, 100'000);
  MonoTime now = kStart;
  for (int i = 0; i < 1000; ++i) now += bucket.take(64 * 1024, now);
  const double rate = 1000 * 65536 / std::chrono::duration<double>(now - kStart).count();
  EXPECT_NEAR(rate, 1'000'000, 10'000);
}

TEST(TokenBucket, SavesNoMoreThanItsBurst) {
  TokenBucket bucket(1000, 500);
  EXPECT_EQ(bucket.take(500, kStart), Duration::zero());
  const MonoTime later = kStart + std::chrono::hours(24);
  EXPECT_EQ(bucket.take(500, later), Duration::zero());
  EXPECT_EQ(bucket.take(500, later), milliseconds(500));
}

TEST(TokenBucket, ATakeLargerThanTheBurstIsServed) {
  TokenBucket bucket(1000, 10);
  EXPECT_EQ(bucket.take(2010, kStart), seconds(2));
}

TEST(TokenBucket, RateZeroIsNoLimit) {
  TokenBucket bucket(0, 10);
  EXPECT_EQ(bucket.take(uint64_t{1} << 40, kStart), Duration::zero());
}

TEST(TokenBucket, ANewRateHoldsFromThenOn) {
  TokenBucket bucket(1000, 0);
  EXPECT_EQ(bucket.take(1000, kStart), seconds(1));
  bucket.set_rate(10'000, kStart + seconds(1));
  EXPECT_EQ(bucket.take(1000, kStart + seconds(1)), milliseconds(100));
}

TEST(TokenBucket, AClockReadEarlierByAnotherThreadGivesNothingBack) {
  TokenBucket bucket(1000, 0);
  EXPECT_EQ(bucket.take(1000, kStart), seconds(1));
  EXPECT_EQ(bucket.take(1000, kStart - milliseconds(5)), seconds(2));
}

}  // namespace
}  // namespace hearth::blob
