#include "oci/tar_number.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <string>

namespace hearth::oci {
namespace {

struct HeaderCase {
  const char* name;
  std::string field;
  std::optional<int64_t> value;
};

class HeaderNumberTest : public ::testing::TestWithParam<HeaderCase> {};

TEST_P(HeaderNumberTest, IsRead) {
  EXPECT_EQ(parse_header_number(GetParam().field), GetParam().value);
}

INSTANTIATE_TEST_SUITE_P(
    Fields, HeaderNumberTest,
    ::testing::Values(HeaderCase{"octal", std::string("0000644\0", 8), 0644},
                      HeaderCase{"blanks_around", "  644 ", 0644}, HeaderCase{"full_width", "77777777", 077777777},
                      HeaderCase{"nothing_is_zero", std::string(8, '\0'), 0},
                      HeaderCase{"not_octal", "0000089", std::nullopt}, HeaderCase{"sign", "-000001", std::nullopt},
                      HeaderCase{"blank_inside", "12 34", std::nullopt}, HeaderCase{"empty", "", std::nullopt},
                      HeaderCase{"base256", std::string("\x80\0\0\0\0\x2d\xc6\xc0", 8), 3'000'000},
                      HeaderCase{"base256_minus_one", std::string(8, '\xff'), -1},
                      HeaderCase{"base256_64_bits", std::string("\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", 12),
                                 std::numeric_limits<int64_t>::max()},
                      HeaderCase{"base256_too_large", std::string("\x80\0\0\0\x80\0\0\0\0\0\0\0", 12), std::nullopt},
                      HeaderCase{"base256_too_small",
                                 std::string("\xff\xff\xff\xff\x7f\xff\xff\xff\xff\xff\xff\xff", 12), std::nullopt}),
    [](const auto& param) { return std::string(param.param.name); });

TEST(DecimalTime, KeepsNanosecondsInBothDirections) {
  EXPECT_EQ(parse_decimal_time("0"), (FileTime{0, 0}));
  EXPECT_EQ(parse_decimal_time("1.000000001"), (FileTime{1, 1}));
  EXPECT_EQ(parse_decimal_time("-1"), (FileTime{-1, 0}));
  EXPECT_EQ(parse_decimal_time("-1.5"), (FileTime{-2, 500'000'000}));
  EXPECT_EQ(parse_decimal_time("-0.000000001"), (FileTime{-1, 999'999'999}));
  EXPECT_EQ(parse_decimal_time("7."), (FileTime{7, 0}));
  for (const char* bad : {"", ".5", "-", "1e9", "1.5.5", "1,5", " 1", "0x10", "inf", "1.-5", "9223372036854775808",
                          "-9223372036854775808.5"}) {
    EXPECT_EQ(parse_decimal_time(bad), std::nullopt) << bad;
  }
}

}  // namespace
}  // namespace hearth::oci
