#include "redis/resp.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hearth::redis {
namespace {

using Kind = RespValue::Kind;

/// Compact picture of a value, so that expectations can be read.
std::string show(const RespValue& value) {
  static constexpr const char* kNames[] = {"null", "text",  "error", "int", "number",
                                           "bool", "array", "map",   "set", "push"};
  std::string shown = kNames[static_cast<size_t>(value.kind)];
  if (value.kind == Kind::null) return shown;
  if (value.kind == Kind::integer || value.kind == Kind::boolean) return shown + ":" + std::to_string(value.integer);
  if (value.kind < Kind::array) return shown + ":" + value.text;
  shown += "[";
  for (const RespValue& item : value.items) shown += show(item) + ",";
  return shown + "]";
}

/// Decodes the bytes, given in pieces of `step`; all values, or the error.
std::string decode(std::string_view bytes, size_t step, RespLimits limits = {}) {
  RespDecoder decoder(limits);
  std::string shown;
  while (true) {
    while (true) {
      auto value = decoder.next();
      if (!value) return shown + "!" + std::string(to_string(value.error().code));
      if (!*value) break;
      shown += show(**value) + " ";
    }
    if (bytes.empty()) return shown;
    decoder.feed(bytes.substr(0, step));
    bytes.remove_prefix(std::min(step, bytes.size()));
  }
}

struct Case {
  const char* name;
  std::string bytes;
  std::string shown;
};

class RespDecoderTest : public testing::TestWithParam<Case> {};

TEST_P(RespDecoderTest, DecodesHoweverTheBytesArrive) {
  for (size_t step : {size_t{1}, size_t{2}, size_t{3}, size_t{7}, size_t{1000}})
    EXPECT_EQ(decode(GetParam().bytes, step), GetParam().shown) << "in pieces of " << step;
}

INSTANTIATE_TEST_SUITE_P(
    Resp, RespDecoderTest,
    testing::Values(
        Case{"Simple", "+OK\r\n", "text:OK "}, Case{"Error", "-ERR no\r\n", "error:ERR no "},
        Case{"Integer", ":-42\r\n:+7\r\n", "int:-42 int:7 "}, Case{"Bulk", "$5\r\na\r\nbc\r\n", "text:a\r\nbc "},
        Case{"EmptyBulk", "$0\r\n\r\n", "text: "}, Case{"NullBulk", "$-1\r\n", "null "},
        Case{"NullArray", "*-1\r\n", "null "}, Case{"EmptyArray", "*0\r\n", "array[] "},
        Case{"Nested", "*3\r\n:1\r\n*2\r\n+a\r\n*0\r\n$1\r\nb\r\n:9\r\n",
             "array[int:1,array[text:a,array[],],text:b,] int:9 "},
        Case{"NullsInside", "*2\r\n$-1\r\n*-1\r\n", "array[null,null,] "},
        Case{"Resp3", "_\r\n#t\r\n,3.25\r\n(12345678901234567890\r\n=7\r\ntxt:abc\r\n!5\r\nE bad\r\n",
             "null bool:1 number:3.25 text:12345678901234567890 text:abc error:E bad "},
        Case{"Map", "%2\r\n+a\r\n:1\r\n+b\r\n:2\r\n", "map[text:a,int:1,text:b,int:2,] "},
        Case{"SetAndPush", "~1\r\n:1\r\n>2\r\n+message\r\n+x\r\n", "set[int:1,] push[text:message,text:x,] "},
        Case{"AttributesAreSkipped", "|1\r\n+ttl\r\n:1\r\n*2\r\n|0\r\n:1\r\n|1\r\n+k\r\n*1\r\n:5\r\n:2\r\n",
             "array[int:1,int:2,] "},
        Case{"UnknownType", "?\r\n", "!corrupt"}, Case{"EmptyLine", "\r\n", "!corrupt"},
        Case{"BadInteger", ":1x\r\n", "!corrupt"}, Case{"BadBoolean", "#y\r\n", "!corrupt"},
        Case{"BadLength", "$-2\r\n", "!corrupt"}, Case{"BadCount", "*x\r\n", "!corrupt"},
        Case{"BulkWithoutEnd", "$1\r\nabc\r\n", "!corrupt"}, Case{"HugeBulk", "$9999999999999\r\n", "!exhausted"},
        Case{"HugeArray", "*999999999999\r\n", "!exhausted"},
        Case{"HugeMap", "%9223372036854775807\r\n", "!exhausted"}),
    [](const testing::TestParamInfo<Case>& info) { return info.param.name; });

TEST(RespDecoder, BoundsDepthItemsAndLines) {
  std::string deep;
  for (int i = 0; i < 20; ++i) deep += "*1\r\n";
  EXPECT_EQ(decode(deep, 1000), "!exhausted");
  EXPECT_EQ(decode("*2\r\n*2\r\n:1\r\n:2\r\n:3\r\n", 1000, {.items = 4}), "!exhausted");
  EXPECT_EQ(decode("*2\r\n:1\r\n:2\r\n*2\r\n:1\r\n:2\r\n", 1000, {.items = 4}),
            "array[int:1,int:2,] array[int:1,int:2,] ");
  EXPECT_EQ(decode("+" + std::string(100, 'x'), 1000, {.line_bytes = 50}), "!exhausted");
}

TEST(RespDecoder, KeepsUpWithALongStream) {
  RespDecoder decoder;
  size_t seen = 0;
  for (int i = 0; i < 20'000; ++i) {
    decoder.feed("$20\r\n01234567890123456789\r\n$3\r\nab");
    decoder.feed("c\r\n");
    while (true) {
      auto value = decoder.next();
      ASSERT_TRUE(value);
      if (!*value) break;
      ++seen;
    }
  }
  EXPECT_EQ(seen, 40'000u);
}

TEST(EncodeCommand, IsBinarySafe) {
  EXPECT_EQ(encode_command({"SET", "k", std::string_view("a\r\n\0", 4)}),
            "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\na\r\n" + std::string(1, '\0') + "\r\n");
}

}  // namespace
}  // namespace hearth::redis
