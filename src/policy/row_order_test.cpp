#include "policy/row_order.hpp"

#include <gtest/gtest.h>

namespace hearth::policy {
namespace {

struct Pair {
  const char* name;
  const char* lower;
  const char* higher;
};

class LowerThan : public testing::TestWithParam<Pair> {};

TEST_P(LowerThan, BothWays) {
  EXPECT_TRUE(std::is_lt(compare_row_ids(GetParam().lower, GetParam().higher)));
  EXPECT_TRUE(std::is_gt(compare_row_ids(GetParam().higher, GetParam().lower)));
  EXPECT_TRUE(std::is_eq(compare_row_ids(GetParam().lower, GetParam().lower)));
}

INSTANTIATE_TEST_SUITE_P(RowIds, LowerThan,
                         testing::Values(Pair{"ByValueNotByText", "9", "10"}, Pair{"NegativeFirst", "-3", "2"},
                                         Pair{"NegativeByValue", "-10", "-9"}, Pair{"FloatBetweenIntegers", "1", "1.5"},
                                         Pair{"IntegerAboveFloat", "1.5", "2"}, Pair{"Exponent", "999", "1e3"},
                                         Pair{"NegativeExponent", "1e-3", "0.01"},
                                         Pair{"BeyondDoublePrecision", "9007199254740992", "9007199254740993"},
                                         Pair{"BeyondInt64", "18446744073709551615", "18446744073709551616"},
                                         Pair{"BigNegative", "-18446744073709551616", "-18446744073709551615"},
                                         Pair{"SmallAgainstBig", "5", "123456789012345678901234567890"},
                                         Pair{"TinyAgainstZero", "0", "1e-400"}, Pair{"HugeExponent", "1e400", "1e401"},
                                         Pair{"AbsurdExponent", "1e5", "1e99999999999999999999"},
                                         Pair{"NumbersBeforeStrings", "99999", "\"1\""},
                                         Pair{"StringsByText", "\"10\"", "\"9\""}, Pair{"Prefix", "\"a\"", "\"ab\""},
                                         Pair{"EmptyString", "\"\"", "\"a\""},
                                         Pair{"EscapedLetter", "\"a\"", "\"\\u0062\""},
                                         Pair{"NonAscii", "\"z\"", "\"\\u00e9\""},
                                         Pair{"AstralAboveBasic", "\"\\uffee\"", "\"\\ud83d\\ude00\""}),
                         [](const auto& info) { return std::string(info.param.name); });

struct Same {
  const char* name;
  const char* a;
  const char* b;
};

class EqualTo : public testing::TestWithParam<Same> {};

TEST_P(EqualTo, IsTheSameRow) {
  EXPECT_TRUE(std::is_eq(compare_row_ids(GetParam().a, GetParam().b)));
  const auto order = order_rows({GetParam().a, "\"other\"", GetParam().b});
  ASSERT_FALSE(order);
  EXPECT_EQ(order.error().code, ErrorCode::invalid_argument);
}

INSTANTIATE_TEST_SUITE_P(RowIds, EqualTo,
                         testing::Values(Same{"IntegerAndFloat", "1", "1.0"}, Same{"Exponents", "10", "1e1"},
                                         Same{"ShiftedExponents", "0.5e1", "50e-1"}, Same{"Zeros", "0", "-0.0e7"},
                                         Same{"Text", "\"a\"", "\"a\""}, Same{"Escaped", "\"a\\u002fb\"", "\"a/b\""},
                                         Same{"SurrogatePair", "\"\\ud83d\\ude00\"", "\"\xF0\x9F\x98\x80\""}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(OrderRows, SortsNumbersThenStrings) {
  const auto order = order_rows({"\"b\"", "10", "\"a\"", "2", "-1.5"});
  ASSERT_TRUE(order);
  EXPECT_EQ(*order, (std::vector<uint32_t>{4, 3, 1, 2, 0}));
}

TEST(OrderRows, ANumberAndTheStringOfItAreTwoRows) {
  EXPECT_TRUE(order_rows({"1", "\"1\""}));
}

TEST(UnescapeJson, KnowsEveryEscape) {
  EXPECT_EQ(unescape_json(R"("\"\\\/\b\f\n\r\t\u0041")"), "\"\\/\b\f\n\r\tA");
}

TEST(UnescapeJson, KeepsALoneSurrogateApart) {
  EXPECT_NE(unescape_json(R"("\ud83d")"), unescape_json(R"("\ud83e")"));
  EXPECT_EQ(unescape_json(R"("\ud83dx")").back(), 'x');
  EXPECT_NE(unescape_json(R"("\ud83d\u0041")"), unescape_json(R"("\ud83d")"));
}

}  // namespace
}  // namespace hearth::policy
