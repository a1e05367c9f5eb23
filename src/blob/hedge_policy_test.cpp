#include "blob/hedge_policy.hpp"

#include <gtest/gtest.h>

namespace hearth::blob {
namespace {

constexpr uint64_t kKiB = 1024;

void answer(HedgePolicy& policy, int times, Duration took, uint64_t bytes = 100 * kKiB) {
  for (int i = 0; i < times; ++i) {
    policy.on_request();
    policy.on_answer(bytes, took);
  }
}

TEST(HedgePolicy, WaitsUntilItKnowsEnough) {
  HedgePolicy policy;
  answer(policy, 15, milliseconds(20));
  EXPECT_FALSE(policy.patience(100 * kKiB));
  answer(policy, 1, milliseconds(20));
  EXPECT_EQ(policy.patience(100 * kKiB), milliseconds(20));
}

TEST(HedgePolicy, CallsAStragglerWhatIsSlowerThanNearlyAll) {
  HedgePolicy policy;
  answer(policy, 60, milliseconds(20));
  answer(policy, 4, milliseconds(500));
  EXPECT_EQ(policy.patience(100 * kKiB), milliseconds(20));
  answer(policy, 8, milliseconds(90));
  EXPECT_EQ(policy.patience(100 * kKiB), milliseconds(90)) << "slow answers that are usual are no stragglers";
}

TEST(HedgePolicy, ForgetsOldAnswers) {
  HedgePolicy policy;
  answer(policy, 64, milliseconds(900));
  answer(policy, 64, milliseconds(30));
  EXPECT_EQ(policy.patience(100 * kKiB), milliseconds(30));
}

TEST(HedgePolicy, JudgesLargeReadsByLargeOnes) {
  HedgePolicy policy;
  answer(policy, 20, milliseconds(20), 64 * kKiB);
  EXPECT_FALSE(policy.patience(8 * 1024 * kKiB));
  answer(policy, 20, milliseconds(400), 8 * 1024 * kKiB);
  EXPECT_EQ(policy.patience(8 * 1024 * kKiB), milliseconds(400));
  EXPECT_EQ(policy.patience(1), milliseconds(20));
}

TEST(HedgePolicy, KeepsItsPatienceWithinLimits) {
  HedgePolicy policy({.delay_min = milliseconds(5), .delay_max = milliseconds(1000)});
  answer(policy, 20, microseconds(100));
  EXPECT_EQ(policy.patience(100 * kKiB), milliseconds(5));
  answer(policy, 64, seconds(9));
  EXPECT_EQ(policy.patience(100 * kKiB), milliseconds(1000));
}

TEST(HedgePolicy, SendsAtMostItsShareOfSecondRequests) {
  HedgePolicy policy({.share = 0.05, .saved_max = 4});
  int sent = 0;
  for (int i = 0; i < 1000; ++i) {
    policy.on_request();
    if (policy.spend()) ++sent;
  }
  EXPECT_GE(sent, 50);
  EXPECT_LE(sent, 54);
}

TEST(HedgePolicy, SavesUpNoMoreThanAFew) {
  HedgePolicy policy({.share = 0.05, .saved_max = 4});
  answer(policy, 10'000, milliseconds(1));
  int sent = 0;
  while (policy.spend()) ++sent;
  EXPECT_EQ(sent, 4);
}

}  // namespace
}  // namespace hearth::blob
