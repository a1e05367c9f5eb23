#include "router/router.hpp"

#include "base/random_id.hpp"
#include "catalog/catalog.hpp"
#include "router/fake_node.hpp"
#include "router/http_caller.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <random>
#include <set>

namespace hearth::router {
namespace {

using nlohmann::json;
using testing::HasSubstr;
namespace fs = std::filesystem;

/// A router with one node and the model "m" (version 1 on main, 1 on team/try).
class RouterTest : public testing::Test {
 protected:
  RouterTest() : folder_(fs::temp_directory_path() / ("hearth-router-" + random_id())) {
    fs::create_directories(folder_ / "store");
    store_ = *blob::open_store((folder_ / "store").string());
    catalog_ = std::make_unique<catalog::Catalog>(store_);
    key_ = catalog_->create_key("default", "test")->secret;
    add_version("main");
    add_version("team/try");
    node_ = std::make_unique<FakeNode>(loop_, folder_ / "node.sock");
    config_ = {.listen = "127.0.0.1:0", .nodes = {(folder_ / "node.sock").string()}, .node_return = milliseconds(300)};
  }
  ~RouterTest() override {
    router_.reset();
    node_.reset();
    fs::remove_all(folder_);
  }

  void add_version(const std::string& branch, catalog::ModelConfig model = {}) {
    model.name = "m";
    model.handler = "m:f";
    ASSERT_TRUE(catalog_->create_version({.branch = {"default", "m", branch}, .config = model}));
  }

  void start() {
    auto router = Router::start(loop_, config_, store_, [](Services&) {
      return [](net::HttpRequest&&, const std::shared_ptr<net::HttpExchange>& exchange, const Caller& caller) {
        exchange->respond({.body = json({{"workspace", caller.workspace}}).dump()});
      };
    });
    ASSERT_TRUE(router) << router.error().message;
    router_ = std::move(*router);
    router_->record_to([this](const record::RequestRecord& record) { records_.push_back(record); });
    ASSERT_TRUE(wait([this] { return get("/readyz").status == 200; }));
  }

  bool wait(const std::function<bool()>& done) { return loop_.run_until(done, seconds(10)); }

  std::shared_ptr<CallerResponse> send(CallerRequest request) {
    request.headers.emplace_back("Authorization", key_);
    return send_as_is(request);
  }
  std::shared_ptr<CallerResponse> send_as_is(const CallerRequest& request) {
    callers_.push_back(std::make_unique<HttpCaller>(loop_, router_->address()));
    return callers_.back()->send(request);
  }
  CallerResponse finish(const std::shared_ptr<CallerResponse>& response) {
    EXPECT_TRUE(wait([response] { return response->status != 0; })) << "no answer";
    return *response;
  }
  CallerResponse get(const std::string& path) { return finish(send_as_is({.method = "GET", .path = path})); }
  CallerResponse post(const std::string& body, const std::string& path = "/v1/m/latest") {
    return finish(send({.path = path, .body = body}));
  }
  /// The node answers every request with its arguments as a list.
  void echo() {
    node_->on_request = [this](const FakeRequest& request) { node_->reply(request.id, "[" + request.payload + "]"); };
  }

  fs::path folder_;
  net::EventLoop loop_;
  std::shared_ptr<blob::ObjectStore> store_;
  std::unique_ptr<catalog::Catalog> catalog_;
  std::string key_;
  Config config_;
  std::unique_ptr<FakeNode> node_;
  std::unique_ptr<Router> router_;
  std::vector<std::unique_ptr<HttpCaller>> callers_;
  std::vector<record::RequestRecord> records_;
};

TEST_F(RouterTest, AnswersASingleCall) {
  start();
  echo();
  const auto response = post(R"({"data": [1, "two"]})");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, R"({"data":[1, "two"]})");
  EXPECT_EQ(response.headers.at("X-Request-Id").size(), 15u);
  EXPECT_THAT(node_->opened.at(0), HasSubstr(R"("version":1,"start":true)"));
}

TEST_F(RouterTest, AnswersABatchSortedByIdWithManyRowsAFrame) {
  start();
  echo();
  const auto response = post(R"({"data": [["b", 1], [10, 2], [9, 3], ["a"]]})");
  EXPECT_EQ(response.body, R"({"data":[[9,[3]],[10,[2]],["a",[]],["b",[1]]]})");
  EXPECT_EQ(node_->frame_sizes, std::vector<uint32_t>{4});
}

TEST_F(RouterTest, FindsBranchesVersionsAndAliases) {
  ASSERT_TRUE(catalog_->set_alias({"default", "m", "team/try"}, "prod", 1));
  start();
  echo();
  for (const char* path : {"/v1/m/1", "/v1/m/latest", "/v1/m/main/1", "/v1/m/team~try/1", "/v1/m/team~try/prod",
                           "/v1/m/team%7Etry/latest"}) {
    EXPECT_EQ(post(R"({"data":1})", path).status, 200) << path;
  }
  EXPECT_EQ(records_.at(4).branch, "team/try");
  EXPECT_EQ(records_.at(4).alias, "prod");
  EXPECT_EQ(records_.at(0).alias, "");
}

struct RefusalRow {
  const char* name;
  CallerRequest request;
  int status;
  const char* error;
};
class Refusals : public RouterTest, public testing::WithParamInterface<RefusalRow> {};

TEST_P(Refusals, SayWhy) {
  start();
  echo();
  const auto response = finish(send(GetParam().request));
  EXPECT_EQ(response.status, GetParam().status);
  EXPECT_THAT(json::parse(response.body)["error"].get<std::string>(), HasSubstr(GetParam().error));
  EXPECT_TRUE(response.status == 404 || response.headers.contains("X-Request-Id"));
}

INSTANTIATE_TEST_SUITE_P(
    Router, Refusals,
    testing::Values(RefusalRow{"Malformed", {.path = "/v1/m/1", .body = "{\"data\":"}, 400, "not valid JSON"},
                    RefusalRow{
                        "DuplicateIds", {.path = "/v1/m/1", .body = R"({"data":[[1,2],[1.0,3]]})"}, 400, "given twice"},
                    RefusalRow{"UnknownModel", {.path = "/v1/nope/1", .body = "{}"}, 404, "nope"},
                    RefusalRow{"UnknownBranch", {.path = "/v1/m/nope/1", .body = "{}"}, 404, "nope"},
                    RefusalRow{"UnknownVersion", {.path = "/v1/m/7", .body = "{}"}, 404, "7"},
                    RefusalRow{"UnknownAlias", {.path = "/v1/m/prod", .body = "{}"}, 404, "prod"},
                    RefusalRow{"Reserved", {.path = "/v1/chat/completions", .body = "{}"}, 404, "reserved"},
                    RefusalRow{"BadPath", {.path = "/v1/m", .body = "{}"}, 404, "no such address"},
                    RefusalRow{"Get", {.method = "GET", .path = "/v1/m/1"}, 405, "POST"},
                    RefusalRow{"OtherWorkspace",
                               {.path = "/v1/m/1", .body = "{}", .headers = {{"X-Hearth-Workspace", "other"}}},
                               403,
                               "another workspace"},
                    RefusalRow{"Elsewhere", {.path = "/favicon.ico"}, 404, "no such address"}),
    [](const auto& info) { return std::string(info.param.name); });

TEST_F(RouterTest, TellsNoKeyFromAWrongOne) {
  start();
  const CallerRequest request{.path = "/v1/m/1", .body = R"({"data":1})"};
  EXPECT_THAT(finish(send_as_is(request)).body, HasSubstr("no API key"));
  CallerRequest wrong = request;
  wrong.headers.emplace_back("Authorization", "Bearer hk_wrong");
  const auto response = finish(send_as_is(wrong));
  EXPECT_EQ(response.status, 401);
  EXPECT_THAT(response.body, HasSubstr("not known"));
}

TEST_F(RouterTest, AcceptsAKeyMadeElsewhereAMomentAgo) {
  start();
  echo();
  const std::string fresh = catalog_->create_key("default", "fresh")->secret;
  const auto response = finish(
      send_as_is({.path = "/v1/m/1", .body = R"({"data":1})", .headers = {{"Authorization", "Bearer " + fresh}}}));
  EXPECT_EQ(response.status, 200);
}

TEST_F(RouterTest, TakesTheWorkspaceFromTheHostName) {
  const std::string other = catalog_->create_key("other", "k")->secret;
  start();
  echo();
  CallerRequest request{.path = "/v1/m/1", .body = R"({"data":1})"};
  request.headers = {{"Authorization", key_}, {"X-Hearth-Workspace", "default"}};
  EXPECT_EQ(finish(send_as_is(request)).status, 200);
  request.headers = {{"Authorization", other}};
  EXPECT_EQ(finish(send_as_is(request)).status, 404);  // the other workspace has no such model
}

TEST_F(RouterTest, FindsAVersionDeployedElsewhereAMomentAgo) {
  start();
  echo();
  add_version("main");
  EXPECT_EQ(post(R"({"data":1})", "/v1/m/2").status, 200);
}

TEST_F(RouterTest, KeepsTheRequestIdOfTheCaller) {
  start();
  echo();
  const auto response =
      finish(send({.path = "/v1/m/1", .body = R"({"data":1})", .headers = {{"X-Request-Id", "abc-1.2:3"}}}));
  EXPECT_EQ(response.headers.at("X-Request-Id"), "abc-1.2:3");
  EXPECT_EQ(records_.at(0).id, "abc-1.2:3");
  const auto odd = finish(send({.path = "/v1/m/1", .body = R"({"data":1})", .headers = {{"X-Request-Id", "a b\"c"}}}));
  EXPECT_NE(odd.headers.at("X-Request-Id"), "a b\"c");
}

TEST_F(RouterTest, AModelsExceptionIs422) {
  start();
  node_->on_request = [this](const FakeRequest& request) {
    node_->reply(request.id, R"({"error":"bad","type":"ValueError","stack":"Traceback"})", wire::Status::raised, "out");
  };
  const auto response = post(R"({"data":1})");
  EXPECT_EQ(response.status, 422);
  EXPECT_EQ(json::parse(response.body)["stack"], "Traceback");
  EXPECT_EQ(records_.at(0).stdout_text, "out");
  EXPECT_THAT(records_.at(0).error, HasSubstr("ValueError"));
  EXPECT_EQ(records_.at(0).failed_rows, 1u);
}

TEST_F(RouterTest, ADeadWorkerIs502AndSaysHow) {
  start();
  node_->on_request = [this](const FakeRequest& request) {
    node_->reply(request.id, R"({"error":"the worker was killed: out of memory","exit":{"signal":9,"oom":true}})",
                 wire::Status::worker_died);
  };
  const auto response = post(R"({"data":1})");
  EXPECT_EQ(response.status, 502);
  EXPECT_THAT(response.body, HasSubstr("out of memory"));
}

TEST_F(RouterTest, AMissedDeadlineIs408AndCancelled) {
  start();
  const auto response = post(R"({"data":1,"timeout_seconds":0.05})");
  EXPECT_EQ(response.status, 408);
  ASSERT_EQ(node_->held.size(), 1u);
  EXPECT_LE(node_->held[0].deadline_ms, 50u);
  EXPECT_TRUE(wait([this] { return !node_->cancelled.empty(); }));
  EXPECT_EQ(node_->cancelled.at(0), node_->held[0].id);
}

TEST_F(RouterTest, AClientThatLeavesCancels) {
  start();
  const auto response = send({.path = "/v1/m/1", .body = R"({"data":1})"});
  ASSERT_TRUE(wait([this] { return !node_->held.empty(); }));
  callers_.back()->close();
  EXPECT_TRUE(wait([this] { return !node_->cancelled.empty(); }));
  EXPECT_EQ(records_.at(0).status, 499u);
}

TEST_F(RouterTest, ACancelWhileTheNodeIsAwayReachesItLater) {
  start();
  const auto response = send({.path = "/v1/m/1", .body = R"({"data":1})"});
  ASSERT_TRUE(wait([this] { return !node_->held.empty(); }));
  node_->drop();
  callers_.back()->close();
  EXPECT_TRUE(wait([this] { return !node_->cancelled.empty(); }));
  EXPECT_EQ(node_->cancelled.at(0), node_->held[0].id);
}

TEST_F(RouterTest, SendsNoMoreThanTheCreditsAllow) {
  start();
  std::vector<std::shared_ptr<CallerResponse>> responses;
  for (int i = 0; i < 10; ++i) responses.push_back(send({.path = "/v1/m/1", .body = R"({"data":1})"}));
  ASSERT_TRUE(wait([this] { return node_->held.size() == 4; }));
  while (!node_->held.empty()) {
    ASSERT_LE(node_->held.size(), 4u);
    node_->reply(std::exchange(node_->held, {}).front().id, "1");  // the others stay outstanding
    echo();
    node_->credits(node_->last_target, 8);
  }
  EXPECT_TRUE(wait(
      [&responses] { return std::ranges::count_if(responses, [](const auto& r) { return r->status == 200; }) >= 7; }));
}

TEST_F(RouterTest, AFailedStartFailsAllWaitersAtOnceWithTheReason) {
  node_->on_open = [](uint32_t, const std::string&) {};
  start();
  std::vector<std::shared_ptr<CallerResponse>> responses;
  for (int i = 0; i < 5; ++i) responses.push_back(send({.path = "/v1/m/1", .body = R"({"data":1})"}));
  ASSERT_TRUE(wait([this] { return !node_->opened.empty(); }));
  loop_.run_until([] { return false; }, milliseconds(30));
  EXPECT_EQ(node_->opened.size(), 1u) << "started once, however many wait";
  node_->report(node_->last_target, "failed", R"(,"reason":"ModuleNotFoundError: no module named x")");
  for (const auto& response : responses) {
    const auto answer = finish(response);
    EXPECT_EQ(answer.status, 503);
    EXPECT_THAT(answer.body, HasSubstr("no module named x"));
    EXPECT_EQ(answer.headers.at("Retry-After"), "1");
  }
  EXPECT_EQ(post(R"({"data":1})").status, 503);  // at once: the next try is a second away
}

TEST_F(RouterTest, AStartThatTakesTooLongIs503WithAnEstimate) {
  node_->on_open = [this](uint32_t target, const std::string&) {
    node_->report(target, "fetching", R"(,"phase":"fetch","estimate_ms":40000)");
  };
  start();
  EXPECT_EQ(post(R"({"data":1,"timeout_seconds":0.05})").status, 503);  // nothing was known when it came
  const auto hasty = post(R"({"data":1,"timeout_seconds":2})");
  EXPECT_EQ(hasty.status, 503);
  EXPECT_THAT(hasty.body, HasSubstr("starting (fetch), ready in about"));
  EXPECT_GE(std::stoi(hasty.headers.at("Retry-After")), 30);
}

TEST_F(RouterTest, ALostConnectionLosesNothing) {
  start();
  const auto response = send({.path = "/v1/m/1", .body = R"({"data":1})"});
  ASSERT_TRUE(wait([this] { return !node_->held.empty(); }));
  node_->drop();
  node_->reply(node_->held[0].id, "\"kept\"");  // finished while nobody listens
  EXPECT_EQ(finish(response).body, R"({"data":"kept"})");
  EXPECT_EQ(node_->held.size(), 1u) << "sent once";
}

TEST_F(RouterTest, ANodeThatForgotIsAskedAgain) {
  start();
  const auto response = send({.path = "/v1/m/1", .body = R"({"data":1})"});
  ASSERT_TRUE(wait([this] { return !node_->held.empty(); }));
  node_->die();
  ASSERT_TRUE(wait([this] { return !node_->held.empty(); })) << "not sent again";
  node_->reply(node_->held[0].id, "\"second\"");
  EXPECT_EQ(finish(response).body, R"({"data":"second"})");
}

TEST_F(RouterTest, ANodeThatStaysAwayIs503AndNotReady) {
  start();
  const auto response = send({.path = "/v1/m/1", .body = R"({"data":1})"});
  ASSERT_TRUE(wait([this] { return !node_->held.empty(); }));
  node_->go_away();
  EXPECT_EQ(finish(response).status, 503);
  EXPECT_TRUE(wait([this] { return get("/readyz").status == 503; }));
  EXPECT_EQ(post(R"({"data":1})").status, 503);
  EXPECT_EQ(get("/livez").status, 200);
  node_->die();
  echo();
  EXPECT_TRUE(wait([this] { return post(R"({"data":1})").status == 200; }));
}

TEST_F(RouterTest, RowsTheNodeWillNotTakeNowAreSentAgain) {
  start();
  int refusals = 3;
  node_->on_request = [this, &refusals](const FakeRequest& request) {
    if (refusals-- > 0) return node_->reply(request.id, R"({"error":"full"})", wire::Status::overloaded);
    node_->reply(request.id, "1");
  };
  EXPECT_EQ(post(R"({"data":1})").status, 200);
}

TEST_F(RouterTest, AReplicaStoppedWhenIdleIsStartedAgain) {
  start();
  echo();
  EXPECT_EQ(post(R"({"data":1})").status, 200);
  node_->credits(node_->last_target, 0);
  node_->report(node_->last_target, "absent");
  loop_.run_until([] { return false; }, milliseconds(30));
  EXPECT_EQ(post(R"({"data":1})").status, 200);
  EXPECT_EQ(node_->opened.size(), 2u);
}

TEST_F(RouterTest, ResultsAreAcknowledged) {
  start();
  echo();
  post(R"({"data":1})");
  EXPECT_TRUE(wait([this] { return node_->acked == 1; }));
}

TEST_F(RouterTest, CountsWhatItDoes) {
  start();
  echo();
  post(R"({"data":[[1,1],[2,2]]})");
  const std::string text = get("/metrics").body;
  EXPECT_THAT(
      text,
      HasSubstr(R"(hearth_requests_total{workspace="default",model="m",branch="main",version="1",status="200"} 1)"));
  EXPECT_THAT(text, HasSubstr(R"(hearth_rows_total{workspace="default",model="m",branch="main",version="1"} 2)"));
  EXPECT_THAT(text, HasSubstr("hearth_node_connected 1"));
}

TEST_F(RouterTest, RequestsOfTheFirstMomentWaitForTheCatalog) {
  auto router = Router::start(loop_, config_, store_, [](Services&) { return AdminHandler(); });
  ASSERT_TRUE(router);
  router_ = std::move(*router);
  echo();
  EXPECT_EQ(post(R"({"data":1})").status, 200);
}

TEST_F(RouterTest, ServesWhatItKnowsWhenTheStoreIsGone) {
  start();
  echo();
  fs::rename(folder_ / "store", folder_ / "away");
  EXPECT_EQ(post(R"({"data":1})").status, 200);
  EXPECT_EQ(post(R"({"data":1})", "/v1/m/9").status, 404);
  EXPECT_EQ(get("/readyz").status, 200);
  fs::rename(folder_ / "away", folder_ / "store");
}

/// Whatever breaks and in whatever order: every client that stays gets its own answer, and every request ends once.
class AnyWeather : public RouterTest, public testing::WithParamInterface<uint32_t> {};

TEST_P(AnyWeather, LosesNothingAndAnswersNothingTwice) {
  start();
  std::mt19937 random(GetParam());
  struct Expected {
    std::string answer;
    std::shared_ptr<CallerResponse> response;
    bool left = false;
  };
  std::vector<Expected> expected;
  const auto reply_to = [this](size_t index) {
    const FakeRequest request = node_->held[index];
    node_->held.erase(node_->held.begin() + static_cast<ptrdiff_t>(index));
    node_->reply(request.id, request.payload);
  };
  for (int step = 0; step < 400; ++step) {
    const uint32_t event = random() % 100;
    if (event < 40) {
      const std::string n = std::to_string(expected.size());
      const bool batch = random() % 4 == 0;
      const std::string body = R"({"data":)" + (batch ? "[[2," + n + "],[1,\"" + n + "\"]]" : n) + "}";
      const std::string answer = R"({"data":)" + (batch ? "[[1,\"" + n + "\"],[2," + n + "]]" : n) + "}";
      expected.push_back({.answer = answer, .response = send({.path = "/v1/m/1", .body = body})});
    } else if (event < 70 && !node_->held.empty()) {
      reply_to(random() % node_->held.size());
    } else if (event < 74) {
      node_->drop();
    } else if (event < 76) {
      node_->die();
    } else if (event < 80 && !expected.empty()) {
      const size_t back = 1 + random() % std::min<size_t>(5, expected.size());
      expected[expected.size() - back].left = true;
      callers_[callers_.size() - back]->close();
    } else if (event < 84) {
      node_->credits(node_->last_target, random() % 6);
    }
    loop_.run_until([] { return true; }, milliseconds(1));
  }
  // Calm weather: everything is answered.
  EXPECT_TRUE(wait([this, &expected, &reply_to] {
    if (node_->last_target != 0) node_->credits(node_->last_target, 8);
    while (!node_->held.empty()) reply_to(0);
    return std::ranges::all_of(expected, [](const Expected& e) { return e.left || e.response->status != 0; });
  }));
  std::set<std::string> ids;
  for (const record::RequestRecord& record : records_) EXPECT_TRUE(ids.insert(record.id).second) << "ended twice";
  for (const Expected& e : expected) {
    if (e.response->status == 0) continue;  // this client left
    EXPECT_EQ(e.response->status, 200) << e.response->body;
    EXPECT_EQ(e.response->body, e.answer);
  }
}

INSTANTIATE_TEST_SUITE_P(Router, AnyWeather, testing::Range(1u, 9u));

TEST_F(RouterTest, PassesAuthenticatedAdminRequestsOn) {
  start();
  EXPECT_EQ(finish(send({.method = "GET", .path = "/api/v1/models"})).body, R"({"workspace":"default"})");
  EXPECT_EQ(finish(send_as_is({.method = "GET", .path = "/api/v1/models"})).status, 401);
}

}  // namespace
}  // namespace hearth::router
