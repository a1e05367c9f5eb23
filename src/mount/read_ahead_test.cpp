#include "mount/read_ahead.hpp"

#include <gtest/gtest.h>

namespace hearth::mount {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kLongest = 8 * kMiB;

TEST(ReadAheadWindow, TheFirstReadThatGoesOnBeginsAWindow) {
  ReadAheadWindow window(kMiB, kLongest);  // the reader's first read brought the first MiB
  ASSERT_TRUE(window.continues(kMiB));
  EXPECT_EQ(window.read(kMiB, 2 * kMiB), (ReadAheadPlan{2 * kMiB, 3 * kMiB}));
}

TEST(ReadAheadWindow, ArrivingAtAWindowOrdersTheNextOfTwiceTheSizeUpToTheLongest) {
  ReadAheadWindow window(0, kLongest);
  auto plan = window.read(0, kMiB).value();
  uint64_t expected = kMiB;
  for (int i = 0; i < 6; ++i) {
    EXPECT_EQ(plan.end - plan.begin, expected);
    EXPECT_EQ(window.ahead(), plan.end);
    const auto next = window.read(plan.begin, plan.begin + 4096).value();
    EXPECT_EQ(next.begin, plan.end);  // no gap, nothing twice
    plan = next;
    expected = std::min(2 * expected, kLongest);
  }
}

TEST(ReadAheadWindow, NeverMoreThanTwoWindowsAreAheadOfTheReader) {
  ReadAheadWindow window(0, kLongest);
  auto plan = window.read(0, kMiB).value();
  for (int i = 0; i < 10; ++i) {
    const uint64_t reader = plan.begin;
    plan = window.read(reader, reader + 4096).value();
    EXPECT_LE(window.ahead() - reader, 2 * kLongest);
  }
}

TEST(ReadAheadWindow, ReadsThatWereOvertakenOrderNothing) {
  ReadAheadWindow window(0, kLongest);
  const auto plan = window.read(0, kMiB).value();
  ASSERT_TRUE(window.continues(plan.begin - 4096));
  EXPECT_EQ(window.read(plan.begin - 4096, plan.begin), std::nullopt);
}

TEST(ReadAheadWindow, AReadElsewhereIsNotOfThisReader) {
  ReadAheadWindow window(10 * kMiB, kLongest);
  EXPECT_TRUE(window.continues(10 * kMiB + ReadAheadWindow::kSlackBytes));
  EXPECT_FALSE(window.continues(10 * kMiB + ReadAheadWindow::kSlackBytes + 1));
  EXPECT_FALSE(window.continues(9 * kMiB));
  EXPECT_FALSE(window.continues(0));
}

TEST(ReadAheadWindow, AReaderThatJumpedOverItsWindowIsFollowed) {
  ReadAheadWindow window(0, kLongest);
  window.read(0, kMiB);  // ahead: 2 MiB
  const auto plan = window.read(2 * kMiB + 4096, 3 * kMiB).value();
  EXPECT_EQ(plan.begin, 3 * kMiB);
}

TEST(ReadAheadWindow, GoesOnInTheNextPackWhereItLeftThisOne) {
  const uint64_t size = 3 * kMiB / 2;
  ReadAheadWindow window(0, kLongest);
  const auto plan = window.read(0, kMiB).value();  // [1, 2) MiB: half of it in the next pack
  const auto next = window.read(plan.begin, plan.begin + 4096).value();
  EXPECT_GE(next.begin, size);
  window.move_on(size);
  EXPECT_EQ(window.ahead(), next.end - size);
  EXPECT_TRUE(window.continues(next.begin - size));
  EXPECT_EQ(window.read(next.begin - size, next.begin - size + 4096)->begin, next.end - size);
}

TEST(ReadAheadWindow, WithoutALongestWindowThereIsNone) {
  ReadAheadWindow window(0, 0);
  EXPECT_EQ(window.read(0, kMiB), std::nullopt);
  EXPECT_EQ(window.read(kMiB, 2 * kMiB), std::nullopt);
}

}  // namespace
}  // namespace hearth::mount
