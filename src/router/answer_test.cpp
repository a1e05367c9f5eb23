#include "router/answer.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace hearth::router {
namespace {

using nlohmann::json;

void set_body(PendingRequest& request, std::string body) {
  request.http.body = std::move(body);
  request.body = *parse_inference_body(request.http.body);
  request.rows.resize(request.body.rows.size());
  request.answered_rows = static_cast<uint32_t>(request.rows.size());
}

TEST(Answer, PassesTheValueThroughUnchanged) {
  PendingRequest request;
  set_body(request, R"({"data":1})");
  const Answer answer = compose_answer(request, R"({"x": 1.0000000000000000001})", {});
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, R"({"data":{"x": 1.0000000000000000001}})");
  EXPECT_EQ(answer.data(), R"({"x": 1.0000000000000000001})");
}

struct StatusRow {
  const char* name;
  wire::Status status;
  int http;
};
class StatusOf : public testing::TestWithParam<StatusRow> {};
TEST_P(StatusOf, IsInTheTable) {
  PendingRequest request;
  set_body(request, R"({"data":1})");
  request.rows[0].status = GetParam().status;
  const Answer answer = compose_answer(request, R"({"error":"why","stack":"Traceback"})", {});
  EXPECT_EQ(answer.status, GetParam().http);
  EXPECT_EQ(answer.body, R"({"error":"why","stack":"Traceback"})");
  EXPECT_EQ(answer.error(), answer.body);
}

using enum wire::Status;
INSTANTIATE_TEST_SUITE_P(Answer, StatusOf,
                         testing::Values(StatusRow{"Raised", raised, 422}, StatusRow{"Malformed", malformed, 400},
                                         StatusRow{"Unsendable", unsendable, 422}, StatusRow{"Deadline", deadline, 408},
                                         StatusRow{"WorkerDied", worker_died, 502},
                                         StatusRow{"Overloaded", overloaded, 429},
                                         StatusRow{"NotReady", not_ready, 503}, StatusRow{"Internal", internal, 500}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(Answer, GivesTheErrorOfABrokenErrorObjectAsText) {
  PendingRequest request;
  set_body(request, R"({"data":1})");
  request.rows[0].status = raised;
  EXPECT_EQ(json::parse(compose_answer(request, "no \"json\"", {}).body)["error"], "no \"json\"");
  EXPECT_FALSE(json::parse(compose_answer(request, "", {}).body)["error"].get<std::string>().empty());
}

TEST(Answer, CarriesLogsAndTimingsOnRequest) {
  PendingRequest request;
  set_body(request, R"({"data":1,"include":["stdout","stderr","timings"]})");
  request.stdout_text = "hello\n";
  request.measured = {.first_sent = MonoTime(milliseconds(12)), .wait_us = 500, .run_us = 1500};
  request.arrived = MonoTime(milliseconds(10));
  const json answer = json::parse(compose_answer(request, "7", MonoTime(milliseconds(15))).body);
  EXPECT_EQ(answer, json::parse(R"({"data":7,"stdout":"hello\n","stderr":"",
    "timings":{"queue_ms":2.0,"wait_ms":0.5,"run_ms":1.5,"total_ms":5.0}})"));
}

TEST(Answer, CarriesLogsBesideAnError) {
  PendingRequest request;
  set_body(request, R"({"data":1,"include":["stdout"]})");
  request.stdout_text = "x";
  request.rows[0].status = raised;
  EXPECT_EQ(compose_answer(request, R"({"error":"e"})", {}).body, R"({"error":"e","stdout":"x"})");
}

TEST(Answer, StitchesABatchInTheOrderOfIds) {
  PendingRequest request;
  set_body(request, R"({"data":[["b",1],[10,1],[9,1]]})");
  request.order = {2, 1, 0};
  request.rows[0].value = "\"B\"";
  request.rows[1].value = "[10]";
  request.rows[2].value = "{}";
  const Answer answer = compose_answer(request, {}, {});
  EXPECT_EQ(answer.body, R"({"data":[[9,{}],[10,[10]],["b","B"]]})");
  EXPECT_EQ(answer.data(), R"([[9,{}],[10,[10]],["b","B"]])");
}

TEST(Answer, PutsFailedRowsBesideAnErrorWithTheStatusOfTheFirst) {
  PendingRequest request;
  set_body(request, R"({"data":[["q\"x",1],[1,1],[2,1]]})");
  request.order = {1, 2, 0};
  request.failed_rows = 2;
  request.rows[0] = {.status = worker_died, .value = R"({"error":"killed"})"};
  request.rows[1] = {.value = "1"};
  request.rows[2] = {.status = raised, .value = R"({"type":"ValueError","error":"bad \"2\""})"};
  const Answer answer = compose_answer(request, {}, {});
  EXPECT_EQ(answer.status, 422);
  const json body = json::parse(answer.body);
  EXPECT_EQ(body["data"],
            json::parse(R"([[1,1],[2,{"type":"ValueError","error":"bad \"2\""}],["q\"x",{"error":"killed"}]])"));
  EXPECT_EQ(body["error"], "2 of 3 rows failed, first row 2: bad \"2\"");
  EXPECT_EQ(json::parse(answer.error()), body["error"]);
}

TEST(Answer, AnEmptyBatchIsAnEmptyList) {
  PendingRequest request;
  set_body(request, R"({"data":[],"batch":true})");
  EXPECT_EQ(compose_answer(request, {}, {}).body, R"({"data":[]})");
}

}  // namespace
}  // namespace hearth::router
