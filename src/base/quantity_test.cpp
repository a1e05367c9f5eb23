#include "base/quantity.hpp"

#include <gtest/gtest.h>

namespace hearth {
namespace {

using std::chrono::milliseconds;

TEST(ParseBytes, KnowsDecimalAndBinaryUnits) {
  EXPECT_EQ(parse_bytes("4096").value(), 4096U);
  EXPECT_EQ(parse_bytes("1.5GiB").value(), 1610612736U);
  EXPECT_EQ(parse_bytes("256 MiB").value(), 268435456U);
  EXPECT_EQ(parse_bytes("10MB").value(), 10000000U);
}

TEST(ParseBytes, RefusesNonsense) {
  for (const char* bad : {"", "GiB", "-1", "1Gib", "1e99TiB", "nan", "inf"}) EXPECT_FALSE(parse_bytes(bad)) << bad;
}

TEST(ParseDuration, NeedsAUnit) {
  EXPECT_EQ(parse_duration("250ms").value(), milliseconds(250));
  EXPECT_EQ(parse_duration("30s").value(), milliseconds(30'000));
  EXPECT_EQ(parse_duration("1.5m").value(), milliseconds(90'000));
  for (const char* bad : {"", "30", "s", "-3s", "3 weeks"}) EXPECT_FALSE(parse_duration(bad)) << bad;
}

TEST(FormatDuration, PicksTheShortestExactForm) {
  EXPECT_EQ(format_duration(milliseconds(0)), "0s");
  EXPECT_EQ(format_duration(milliseconds(1500)), "1.5s");
  EXPECT_EQ(format_duration(milliseconds(600'000)), "10m");
  EXPECT_EQ(format_duration(milliseconds(7'200'000)), "2h");
}

}  // namespace
}  // namespace hearth
