#include "net/http_message.hpp"

#include <gtest/gtest.h>

namespace hearth::net {
namespace {

TEST(HttpHeaders, AreFoundWithoutRegardToCase) {
  HttpHeaders headers;
  headers.add("Content-Type", "text/plain");
  headers.add("X-Empty", "");
  headers.add("content-type", "second");
  EXPECT_EQ(headers.find("CONTENT-TYPE"), "text/plain");
  EXPECT_EQ(headers.find("x-empty"), "");
  EXPECT_EQ(headers.find("content-typ"), std::nullopt);
  EXPECT_EQ(headers.name(2), "content-type");
  EXPECT_EQ(headers.value(2), "second");
}

TEST(HttpRequest, SplitsItsTarget) {
  HttpRequest request{.target = "/v1/a/b?x=1&y=two%20words&flag&z=a+b&bad=%zz"};
  EXPECT_EQ(request.path(), "/v1/a/b");
  EXPECT_EQ(request.query_value("x"), "1");
  EXPECT_EQ(request.query_value("y"), "two words");
  EXPECT_EQ(request.query_value("flag"), "");
  EXPECT_EQ(request.query_value("z"), "a b");
  EXPECT_EQ(request.query_value("bad"), std::nullopt);
  EXPECT_EQ(request.query_value("none"), std::nullopt);
}

TEST(HttpRequest, TakesAbsoluteTargets) {
  EXPECT_EQ(HttpRequest{.target = "http://host:80/path?q"}.path(), "/path");
  EXPECT_EQ(HttpRequest{.target = "http://host"}.path(), "/");
  EXPECT_EQ(HttpRequest{.target = "*"}.path(), "*");
}

TEST(PercentDecode, RefusesBrokenEscapes) {
  EXPECT_EQ(percent_decode("%41%7e"), "A~");
  EXPECT_EQ(percent_decode("%4"), std::nullopt);
  EXPECT_EQ(percent_decode("%"), std::nullopt);
  EXPECT_EQ(percent_decode("%g0"), std::nullopt);
}

TEST(JsonQuote, EscapesAndRepairs) {
  EXPECT_EQ(json_quote("a\"b\\c\n\x01"), R"("a\"b\\c\n\u0001")");
  EXPECT_EQ(json_quote("gr\xC3\xBC\xC3\x9F \xF0\x9F\x94\xA5"), "\"gr\xC3\xBC\xC3\x9F \xF0\x9F\x94\xA5\"");
  EXPECT_EQ(json_quote("\xFF\xC3"), "\"\xEF\xBF\xBD\xEF\xBF\xBD\"");
  EXPECT_EQ(json_quote("\xED\xA0\x80"), "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");  // a lone surrogate
}

}  // namespace
}  // namespace hearth::net
