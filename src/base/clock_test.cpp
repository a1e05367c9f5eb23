#include "base/clock.hpp"

#include "base/outside_time.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

namespace hearth {
namespace {

TEST(Iso8601Test, ComesBackAsItWas) {
  for (const char* text :
       {"1970-01-01T00:00:00.000000Z", "2026-11-28T10:00:00.123456Z", "2261-12-31T23:59:59.999999Z"}) {
    EXPECT_EQ(to_iso8601(*from_iso8601(text)), text);
  }
  EXPECT_EQ(to_iso8601(*from_iso8601("2026-11-28T10:00:00Z")), "2026-11-28T10:00:00.000000Z");
  EXPECT_EQ(to_iso8601(*from_iso8601("2026-11-28T10:00:00.123456789Z")), "2026-11-28T10:00:00.123456Z");
}

TEST(Iso8601Test, AnythingElseIsRefused) {
  for (const char* text : {"", "2026-11-28", "2026-11-28T10:00:00", "2026-13-28T10:00:00Z", "2026-11-28T24:00:00Z",
                           "1969-12-31T23:59:59Z", "2026-11-28T10:00:00.Z", "2026-11-28T10:00:00.1234567890Z"}) {
    EXPECT_FALSE(from_iso8601(text)) << text;
  }
}

TEST(Iso8601Test, AYearBeyondTheClockIsItsEnd) {
  EXPECT_EQ(from_iso8601("9999-12-31T23:59:59Z"), WallTime::max());
}

TEST(WallAtTest, WhatTheClockCannotHoldBecomesItsNearestEnd) {
  EXPECT_EQ(wall_at(seconds(7)), WallTime(seconds(7)));
  EXPECT_EQ(wall_at(seconds(-7)), WallTime());
  EXPECT_GT(wall_at(seconds(std::numeric_limits<int64_t>::max())), WallTime(seconds(9'000'000'000)));
  EXPECT_GT(wall_at(microseconds(std::numeric_limits<int64_t>::max())), WallTime(seconds(9'000'000'000)));
}

}  // namespace
}  // namespace hearth
