#include "router/json_cursor.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <random>

namespace hearth::router {
namespace {

struct TextRow {
  const char* name;
  std::string text;
};

class Valid : public testing::TestWithParam<TextRow> {};
TEST_P(Valid, IsAccepted) {
  EXPECT_TRUE(is_json(GetParam().text));
}

INSTANTIATE_TEST_SUITE_P(
    JsonCursor, Valid,
    testing::Values(TextRow{"Zero", "0"}, TextRow{"Negative", "-0.5e-10"}, TextRow{"Exponent", "1E+5"},
                    TextRow{"Spaces", " \n\t\r [ 1 , 2 ] "}, TextRow{"Empty", "{}"}, TextRow{"EmptyList", "[]"},
                    TextRow{"Literals", "[true,false,null]"}, TextRow{"Nested", R"({"a":{"b":[{}]}})"},
                    TextRow{"Escapes", R"("\"\\\/\b\f\n\r\t\u00e9")"}, TextRow{"LoneSurrogate", R"("\ud83d")"},
                    TextRow{"Utf8", "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\""},
                    TextRow{"LongString", "\"" + std::string(1000, 'x') + "\""},
                    TextRow{"DeepEnough", std::string(512, '[') + std::string(512, ']')}),
    [](const auto& info) { return std::string(info.param.name); });

class Invalid : public testing::TestWithParam<TextRow> {};
TEST_P(Invalid, IsRefused) {
  EXPECT_FALSE(is_json(GetParam().text));
}

INSTANTIATE_TEST_SUITE_P(
    JsonCursor, Invalid,
    testing::Values(TextRow{"Nothing", ""}, TextRow{"LeadingZero", "01"}, TextRow{"NegativeLeadingZero", "-01"},
                    TextRow{"LonePoint", "1."}, TextRow{"LoneMinus", "-"}, TextRow{"LoneExponent", "1e"},
                    TextRow{"Plus", "+1"}, TextRow{"NaN", "NaN"}, TextRow{"Infinity", "-Infinity"},
                    TextRow{"TrailingComma", "[1,]"}, TextRow{"LeadingComma", "[,1]"}, TextRow{"Unclosed", "[1"},
                    TextRow{"WrongClose", "[1}"}, TextRow{"TwoValues", "1 2"}, TextRow{"NoColon", R"({"a" 1})"},
                    TextRow{"KeyIsNumber", "{1:2}"}, TextRow{"TrailingCommaInObject", R"({"a":1,})"},
                    TextRow{"SingleQuotes", "'a'"}, TextRow{"UnclosedString", "\"a"}, TextRow{"EndsInEscape", "\"a\\"},
                    TextRow{"UnknownEscape", R"("\x")"}, TextRow{"ShortUnicode", R"("\u12")"},
                    TextRow{"BadUnicode", R"("\u12g4")"}, TextRow{"RawNewline", "\"a\nb\""},
                    TextRow{"NulInString", std::string("\"a\0b\"", 5)}, TextRow{"NulAfter", std::string("1\0", 2)},
                    TextRow{"Overlong", "\"\xC0\xAF\""}, TextRow{"Surrogate", "\"\xED\xA0\x80\""},
                    TextRow{"AboveUnicode", "\"\xF4\x90\x80\x80\""}, TextRow{"CutUtf8", "\"\xE2\x82\""},
                    TextRow{"LoneContinuation", "\"\x80\""}, TextRow{"Comment", "1 // one"},
                    TextRow{"CutLiteral", "tru"}, TextRow{"TooDeep", std::string(513, '[') + std::string(513, ']')},
                    TextRow{"AbsurdlyDeep", std::string(1'000'000, '[')}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(JsonCursor, SaysWhereAndWhat) {
  JsonCursor cursor("{\"a\": tru}");
  std::string_view value;
  EXPECT_FALSE(cursor.value(value));
  EXPECT_EQ(cursor.error(), "at byte 6: expected a value");
}

/// Small mutations of valid texts: the verdict is that of another parser.
TEST(JsonCursor, AgreesWithAnotherParserOnMutations) {
  std::mt19937 random(7);
  const std::string seed = R"({"data":[[1,2.5e3,"a\u00e9\n"],["x",{"k":[null,true,false]},-0]],"t":12, "e":"\"\\"})";
  const std::string alphabet = "{}[]\",:\\ 0129.eE+-truefalsn\n\x01ux";
  for (int round = 0; round < 50'000; ++round) {
    std::string text = seed;
    for (uint32_t changes = random() % 4 + 1; changes > 0; --changes) {
      const size_t at = random() % text.size();
      const char c = alphabet[random() % alphabet.size()];
      switch (random() % 3) {
        case 0:
          text[at] = c;
          break;
        case 1:
          text.insert(at, 1, c);
          break;
        default:
          text.erase(at, 1 + random() % 3);
      }
      if (text.empty()) text = "0";
    }
    // The other parser refuses numbers that are no double, and lone surrogates; both are JSON all the same.
    const bool other = nlohmann::json::accept(text);
    if (!other && (text.find("e3") != std::string::npos || text.find("\\u") != std::string::npos)) continue;
    ASSERT_EQ(is_json(text), other) << text;
  }
}

}  // namespace
}  // namespace hearth::router
