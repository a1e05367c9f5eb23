#include "router/inference_body.hpp"

#include <gtest/gtest.h>

namespace hearth::router {
namespace {

/// "args" of a single call, "id=args;id=args" of a batch.
std::string shape_of(const InferenceBody& body) {
  if (body.shape == BodyShape::single) return std::string(body.rows.at(0).arguments);
  std::string text;
  for (const RowSpan& row : body.rows) text += std::string(row.id) + "=" + std::string(row.arguments) + ";";
  return text;
}

struct GoodRow {
  const char* name;
  const char* body;
  BodyShape shape;
  const char* expected;
};

class Accepted : public testing::TestWithParam<GoodRow> {};
TEST_P(Accepted, IsCutIntoSpans) {
  const auto body = parse_inference_body(GetParam().body);
  ASSERT_TRUE(body) << body.error().message;
  EXPECT_EQ(body->shape, GetParam().shape);
  EXPECT_EQ(shape_of(*body), GetParam().expected);
}

using enum BodyShape;
INSTANTIATE_TEST_SUITE_P(
    InferenceBody, Accepted,
    testing::Values(GoodRow{"Number", R"({"data": 5})", single, "5"},
                    GoodRow{"Text", R"({"data":"x"})", single, "\"x\""},
                    GoodRow{"Null", R"({"data":null})", single, "null"},
                    GoodRow{"Object", R"({"data":{"a":1}})", single, R"({"a":1})"},
                    GoodRow{"Positional", R"({"data":[1, "b" ]})", single, R"(1, "b")"},
                    GoodRow{"NoArguments", R"({"data":[]})", single, ""},
                    GoodRow{"NoArgumentsSpaced", R"({"data":[ ]})", single, ""},
                    GoodRow{"PositionalListSecond", R"({"data":[1,[2,3]]})", single, "1,[2,3]"},
                    GoodRow{"Batch", R"({"data":[[1,10],[2,20]]})", batch, "1=10;2=20;"},
                    GoodRow{"BatchManyArguments", R"({ "data" : [ [ "a" , 1 , [2] ] , ["b",{}] ] })", batch,
                            R"("a"=1 , [2];"b"={};)"},
                    GoodRow{"BatchNoArguments", R"({"data":[[1],[ -2.5 ]]})", batch, "1=;-2.5=;"},
                    GoodRow{"SingleListOfLists", R"({"data":[[1,2],[3,4]],"single":true})", single, "[[1,2],[3,4]]"},
                    GoodRow{"SingleList", R"({"single":true,"data":[1,2]})", single, "[1,2]"},
                    GoodRow{"BatchFalse", R"({"data":[[1,2],[3,4]],"batch":false})", single, "[1,2],[3,4]"},
                    GoodRow{"BatchTrue", R"({"data":[[1,2]],"batch":true})", batch, "1=2;"},
                    GoodRow{"EmptyBatch", R"({"data":[],"batch":true})", batch, ""},
                    GoodRow{"SingleFalseKeepsTheRule", R"({"data":[[1,2]],"single":false})", batch, "1=2;"},
                    GoodRow{"OddRowsPassWhenSingle", R"({"data":[[],1,[null]],"single":true})", single,
                            "[[],1,[null]]"},
                    GoodRow{"UnknownKeys", R"({"x":[1,{"y":2}],"data":1,"z":null})", single, "1"},
                    GoodRow{"EscapedKey", R"({"d\u0061ta":7})", single, "7"}),
    [](const auto& info) { return std::string(info.param.name); });

struct BadRow {
  const char* name;
  const char* body;
  const char* message;
};

class Refused : public testing::TestWithParam<BadRow> {};
TEST_P(Refused, SaysWhy) {
  const auto body = parse_inference_body(GetParam().body);
  ASSERT_FALSE(body);
  EXPECT_EQ(body.error().code, ErrorCode::invalid_argument);
  EXPECT_NE(body.error().message.find(GetParam().message), std::string::npos) << body.error().message;
}

INSTANTIATE_TEST_SUITE_P(
    InferenceBody, Refused,
    testing::Values(BadRow{"Empty", "", "the body is empty"}, BadRow{"Blank", "  \n", "the body is empty"},
                    BadRow{"NotAnObject", "[1]", "must be a JSON object"},
                    BadRow{"NotJson", "data=5", "not valid JSON, at byte 0"},
                    BadRow{"NoData", R"({"x":1})", "no \"data\""},
                    BadRow{"Twice", R"({"data":1,"data":2})", "given twice"},
                    BadRow{"TrailingText", R"({"data":1}x)", "at byte 10: expected the end"},
                    BadRow{"CutInside", R"({"data":[1,2)", "expected ',' or ']'"},
                    BadRow{"BadValue", R"({"data":[[1,2],[2,nope]]})", "at byte 18: expected a value"},
                    BadRow{"TrailingComma", R"({"data":1,})", "expected a key in quotes"},
                    BadRow{"MixedBatch", R"({"data":[[1,2],3]})", "element 1 is no list"},
                    BadRow{"RowWithoutId", R"({"data":[[1,2],[]]})", "row 1 is empty"},
                    BadRow{"IdIsNull", R"({"data":[[null,2]]})", "the id of row 0 must be a number or a string"},
                    BadRow{"IdIsList", R"({"data":[[[1],2]]})", "the id of row 0"},
                    BadRow{"BatchOfScalars", R"({"data":[1,2],"batch":true})", "every element"},
                    BadRow{"BatchOfNothing", R"({"data":5,"batch":true})", "to be a list of rows"},
                    BadRow{"Both", R"({"data":[[1]],"batch":true,"single":true})", "cannot both"},
                    BadRow{"SingleNotBool", R"({"data":1,"single":1})", "must be true or false"},
                    BadRow{"TimeoutText", R"({"data":1,"timeout_seconds":"5"})", "timeout_seconds"},
                    BadRow{"TimeoutZero", R"({"data":1,"timeout_seconds":0})", "above 0"},
                    BadRow{"TimeoutNegative", R"({"data":1,"timeout_seconds":-3})", "above 0"},
                    BadRow{"Webhook", R"({"data":1,"response_webhook":"https://x"})", "not supported"},
                    BadRow{"IncludeUnknown", R"({"data":1,"include":["logs"]})", "none of stdout"},
                    BadRow{"IncludeText", R"({"data":1,"include":"stdout"})", "must be a list"}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(InferenceBody, ReadsTimeoutAndIncludes) {
  const auto body = parse_inference_body(R"({"data":1,"timeout_seconds":2.5,"include":["stdout","timings"]})");
  ASSERT_TRUE(body);
  EXPECT_EQ(body->timeout_seconds, 2.5);
  EXPECT_TRUE(body->include.stdout_text);
  EXPECT_FALSE(body->include.stderr_text);
  EXPECT_TRUE(body->include.timings);
}

TEST(InferenceBody, BoundsTheNumberOfRows) {
  std::string text = "{\"data\":[";
  for (size_t i = 0; i <= InferenceBody::kMaxRows; ++i) text += "[" + std::to_string(i) + "],";
  text.back() = ']';
  const auto body = parse_inference_body(text + "}");
  ASSERT_FALSE(body);
  EXPECT_EQ(body.error().code, ErrorCode::exhausted);
  EXPECT_TRUE(parse_inference_body(text + R"(,"single":true})"));
}

}  // namespace
}  // namespace hearth::router
