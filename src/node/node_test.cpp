// A node with real runner processes over real sockets, in simulated containers.
#include "node/node.hpp"

#include "node/node_fixture.hpp"

#include <thread>

namespace hearth::node {
namespace {

using wire::Status;

constexpr const char* kDouble = "def predict(x):\n    return x * 2\n";
constexpr const char* kSleep = "import time\ndef predict(s):\n    time.sleep(s)\n    return s\n";

class NodeTest : public NodeFixture {};

TEST_F(NodeTest, StartsAVersionWhenARouterOpensItAndAnswers) {
  deploy("double", kDouble);
  router_->connect();
  router_->open(1, "double");
  const nlohmann::json event = router_->wait_for(1, "ready");
  EXPECT_TRUE(event["start_ms"].contains("import"));
  EXPECT_GT(router_->credits(1), 0U);
  const Answer answer = router_->ask(1, "21");
  EXPECT_EQ(answer.status(), Status::ok);
  EXPECT_EQ(answer.value, "42");
}

TEST_F(NodeTest, KeepsAVersionAbsentUntilSomebodyWantsIt) {
  deploy("double", kDouble);
  router_->connect();
  router_->open(1, "double", false);
  router_->wait_for(1, "absent");
  EXPECT_EQ(launcher_->launches(), 0);
}

TEST_F(NodeTest, ARequestThatFindsNothingRunningStartsItAndIsAnswered) {
  deploy("double", kDouble);
  router_->connect();
  router_->open(1, "double", false);
  EXPECT_EQ(router_->ask(1, "4").value, "8");
}

TEST_F(NodeTest, StartsOnceHoweverManyAsk) {
  deploy("double", kDouble);
  FakeRouter other(loop_, socket(), "other");
  router_->connect();
  other.connect();
  router_->open(1, "double");
  router_->open(2, "double");
  other.open(7, "double");
  router_->wait_for(2, "ready");
  other.wait_for(7, "ready");
  EXPECT_EQ(launcher_->launches(), 1);
}

TEST_F(NodeTest, ReportsStdoutOfTheCallAndTimes) {
  deploy("talk", "import time\ndef predict(x):\n    print('hello', x)\n    time.sleep(0.02)\n    return None\n");
  serve("talk");
  const Answer answer = router_->ask(1, "1");
  EXPECT_EQ(answer.stdout_text, "hello 1\n");
  EXPECT_GE(answer.entry.run_us, 20'000U);
}

TEST_F(NodeTest, CountsItsOwnWaiting) {
  deploy("sleep", kSleep);
  serve("sleep");
  const auto ids = router_->send_many(1, {"0.2", "0"});
  EXPECT_GE(router_->answer(ids[1]).entry.wait_us, 150'000U);
}

TEST_F(NodeTest, ABatchModelGetsWhatIsQueuedInOneCall) {
  deploy("count", "def predict(rows):\n    return [len(rows)] * len(rows)\n",
         [](catalog::ModelConfig& config) { config.mode = catalog::CallMode::batch; });
  serve("count");
  const auto ids = router_->send_many(1, {"1", "2", "3", "4", "5"});
  for (const uint64_t id : ids) {
    EXPECT_EQ(router_->answer(id).value, "5");
    EXPECT_EQ(router_->answer(id).entry.batch, 5);
  }
}

// --- starts that fail ---

struct FailingStart {
  std::string name, code, setup, says;
};

class FailingStartTest : public NodeFixture, public ::testing::WithParamInterface<FailingStart> {};

TEST_P(FailingStartTest, TellsAllWaitersTheReasonAtOnce) {
  deploy("bad", GetParam().code, [](catalog::ModelConfig& config) { config.setup = GetParam().setup; });
  router_->connect();
  router_->open(1, "bad", false);
  const auto ids = router_->send_many(1, {"1", "2", "3"});
  for (const uint64_t id : ids) {
    const Answer answer = router_->answer(id);
    EXPECT_EQ(answer.status(), Status::not_ready);
    EXPECT_THAT(answer.error(), ::testing::HasSubstr(GetParam().says));
  }
  const nlohmann::json event = router_->wait_for(1, "failed");
  EXPECT_THAT(text_field(event, "reason"), ::testing::HasSubstr(GetParam().says));
  EXPECT_EQ(launcher_->launches(), 1);
  EXPECT_TRUE(std::filesystem::is_empty(root_ / "run" / "replicas"));  // nothing half-made stays
  // Asked again before the back-off is over: the same answer, and no new start.
  EXPECT_EQ(router_->ask(1, "4").status(), Status::not_ready);
  EXPECT_EQ(launcher_->launches(), 1);
}

INSTANTIATE_TEST_SUITE_P(
    Node, FailingStartTest,
    ::testing::Values(FailingStart{"import_error", "import no_such_module_anywhere\n", "", "no_such_module_anywhere"},
                      FailingStart{"syntax_error", "def predict(x:\n", "", "SyntaxError"},
                      FailingStart{"no_handler", "x = 1\n", "", "predict"},
                      FailingStart{
                          "setup_raises",
                          "def setup():\n    raise ValueError('weights are missing')\ndef predict(x):\n    return x\n",
                          "model:setup", "weights are missing"},
                      FailingStart{"exits_at_import", "import os\nos._exit(7)\n", "", "exit code 7"}),
    [](const auto& test) { return test.param.name; });

TEST_F(NodeTest, ALaunchThatFailsIsToldAndTriedAgainAfterTheBackOff) {
  deploy("double", kDouble);
  launcher_->fail_with("no space left on device");
  router_->connect();
  router_->open(1, "double");
  EXPECT_EQ(text_field(router_->wait_for(1, "failed"), "reason"), "no space left on device");
  launcher_->fail_with("");
  ASSERT_TRUE(wait_until([this] {
    router_->open(1, "double");
    return text_field(router_->target(1), "state") == "ready";
  }));
  EXPECT_EQ(router_->ask(1, "1").value, "2");
}

TEST_F(NodeTest, AnUnknownVersionIsAFailedTarget) {
  router_->connect();
  router_->open(1, "nobody");
  EXPECT_EQ(text_field(router_->wait_for(1, "failed"), "reason"), "no such version");
  router_->open(2, "../../etc");
  EXPECT_THAT(text_field(router_->wait_for(2, "failed"), "reason"), ::testing::HasSubstr("name"));
}

// --- deaths ---

TEST_F(NodeTest, AKilledWorkerFailsItsRequestWithTheSignalAndTheNextIsServed) {
  deploy("die", "import os\ndef predict(how):\n    if how: os.kill(os.getpid(), how)\n    return 'fine'\n");
  serve("die");
  const Answer answer = router_->ask(1, "9");
  EXPECT_EQ(answer.status(), Status::worker_died);
  EXPECT_EQ(answer.json()["exit"]["signal"], 9);
  EXPECT_EQ(answer.json()["exit"]["oom"], false);
  EXPECT_EQ(router_->ask(1, "0").value, "\"fine\"");
  EXPECT_EQ(launcher_->launches(), 1);  // the supervisor forked another; the container is the same
}

TEST_F(NodeTest, AnExitCodeIsTold) {
  deploy("leave", "import os\ndef predict(code):\n    os._exit(code)\n");
  serve("leave");
  const Answer answer = router_->ask(1, "3");
  EXPECT_EQ(answer.status(), Status::worker_died);
  EXPECT_EQ(answer.json()["exit"]["code"], 3);
}

TEST_F(NodeTest, ARequestThatKillsNowAndThenCostsNoBackOff) {
  deploy("leave", "import os\ndef predict(code):\n    if code: os._exit(code)\n    return 'stays'\n");
  serve("leave");
  for (int i = 0; i < 12; ++i) {  // with back-off the last ones would wait longer than anybody here does
    EXPECT_EQ(router_->ask(1, "0").value, "\"stays\"");
    EXPECT_EQ(router_->ask(1, "1").status(), Status::worker_died);
  }
  EXPECT_EQ(launcher_->launches(), 1);
}

TEST_F(NodeTest, AWorkerThatDiesWhileLoadingAgainIsAFailedStart) {
  deploy("once",
         "import os\nflag = '" + (root_ / "flag").string() +
             "'\nif os.path.exists(flag): os._exit(9)\nopen(flag, 'w').close()\ndef predict(x):\n    os._exit(1)\n");
  serve("once");
  EXPECT_EQ(router_->ask(1, "1").status(), Status::worker_died);
  EXPECT_THAT(text_field(router_->wait_for(1, "failed"), "reason"), ::testing::HasSubstr("exit code 9"));
}

TEST_F(NodeTest, OutOfMemoryIsTold) {
  deploy("die", "import os, time\ndef predict(how):\n    os.kill(os.getpid(), 9)\n");
  serve("die");
  launcher_->count_oom_kill();
  const Answer answer = router_->ask(1, "1");
  EXPECT_EQ(answer.json()["exit"]["oom"], true);
  EXPECT_THAT(answer.error(), ::testing::HasSubstr("out of memory"));
}

TEST_F(NodeTest, AWorkersDeathFailsNobodyElsesRequest) {
  deploy(
      "both",
      "import os, time\ndef predict(what):\n    if what == 'die': os._exit(1)\n    time.sleep(0.5)\n    return what\n",
      [](catalog::ModelConfig& config) { config.resources.slots = 2; });
  serve("both");
  ASSERT_TRUE(wait_until([this] { return router_->credits(1) >= 4; }));  // both workers
  const auto ids = router_->send_many(1, {"\"live\"", "\"die\""});
  EXPECT_EQ(router_->answer(ids[1]).status(), Status::worker_died);
  EXPECT_EQ(router_->answer(ids[0]).value, "\"live\"");
}

TEST_F(NodeTest, WhatADeadWorkerHadNotBegunIsSafeToSendAgain) {
  deploy("mixed", "import os\ndef predict(x):\n    if x == 'die': os._exit(1)\n    return x\n");
  serve("mixed");
  for (int i = 0; i < 20; ++i) router_->ask(1, "0");  // fast: gets a pipeline
  const auto ids = router_->send_many(1, {"1", "\"die\"", "3", "4", "5"});
  EXPECT_EQ(router_->answer(ids[1]).status(), Status::worker_died);
  for (size_t i = 2; i < ids.size(); ++i) EXPECT_EQ(router_->answer(ids[i]).status(), Status::unknown) << i;
}

TEST_F(NodeTest, AContainersDeathFailsWhatRunsAndStartsAgain) {
  deploy("sleep", kSleep);
  serve("sleep");
  const uint64_t running = router_->send(1, "30");
  ASSERT_TRUE(wait_until([this] { return replica_status()["busy"] == 1; }));
  launcher_->die(text_field(replica_status(), "id"));
  const Answer answer = router_->answer(running);
  EXPECT_EQ(answer.status(), Status::worker_died);
  EXPECT_EQ(answer.json()["exit"]["signal"], 9);
  EXPECT_EQ(router_->ask(1, "0").value, "0");
  EXPECT_EQ(launcher_->launches(), 2);
}

// --- deadlines and cancelling ---

TEST_F(NodeTest, ADeadlineInterruptsARunningCallAndItsWorkerServesOn) {
  deploy("sleep", kSleep);
  serve("sleep");
  const Answer answer = router_->ask(1, "60", 200);
  EXPECT_EQ(answer.status(), Status::deadline);
  EXPECT_EQ(router_->ask(1, "0").value, "0");
}

TEST_F(NodeTest, ACallThatIgnoresTheInterruptLosesItsWorker) {
  deploy("stubborn",
         "import time\ndef predict(stay):\n    while stay:\n        try:\n            time.sleep(0.1)\n"
         "        except BaseException:\n            pass\n    return 'done'\n");
  serve("stubborn");
  EXPECT_EQ(router_->ask(1, "true", 200).status(), Status::deadline);
  EXPECT_EQ(router_->ask(1, "false").value, "\"done\"");
}

TEST_F(NodeTest, ASlotThatCannotBeFreedCostsItsContainer) {
  stuck_after_ = milliseconds(300);
  kill_node();
  start_node();
  deploy("sleep", kSleep);
  serve("sleep");
  ::kill(replica_pid(), SIGSTOP);  // the supervisor hears no wish to interrupt
  EXPECT_EQ(router_->ask(1, "60", 100).status(), Status::deadline);
  EXPECT_EQ(router_->ask(1, "0").value, "0");
  EXPECT_EQ(launcher_->launches(), 2);
}

TEST_F(NodeTest, ADeadlineInTheQueueIsAnsweredWithoutRunning) {
  deploy("sleep", kSleep);
  serve("sleep");
  const auto slow = router_->send_many(1, {"1", "1"});
  const Answer answer = router_->ask(1, "0", 100);
  EXPECT_EQ(answer.status(), Status::deadline);
  EXPECT_EQ(answer.entry.batch, 0);
  EXPECT_FALSE(router_->answered(slow[1]));
}

TEST_F(NodeTest, CancelEndsQueuedAndRunningRequests) {
  deploy("sleep", kSleep);
  serve("sleep");
  const auto ids = router_->send_many(1, {"60", "60", "0"});
  ASSERT_TRUE(wait_until([this] { return replica_status()["busy"] == 1; }));
  router_->cancel(ids[1]);
  EXPECT_EQ(router_->answer(ids[1]).status(), Status::cancelled);
  router_->cancel(ids[0]);
  EXPECT_EQ(router_->answer(ids[0]).status(), Status::cancelled);
  EXPECT_EQ(router_->answer(ids[2]).value, "0");
}

// --- routers that come and go ---

TEST_F(NodeTest, ALostConnectionLosesNoRequest) {
  deploy("sleep", kSleep);
  serve("sleep");
  const uint64_t running = router_->send(1, "0.3");
  ASSERT_TRUE(wait_until([this] { return replica_status()["busy"] == 1; }));
  router_->disconnect();
  ASSERT_TRUE(wait_until([this] { return replica_status()["busy"] == 0; }));
  router_->connect();
  router_->attach({running});
  EXPECT_EQ(router_->answer(running).value, "0.3");
}

TEST_F(NodeTest, ARouterProcessThatIsGoneLeavesNoWorkBehind) {
  deploy("sleep", kSleep);
  serve("sleep");
  router_->send(1, "60");
  ASSERT_TRUE(wait_until([this] { return replica_status()["busy"] == 1; }));
  router_->disconnect();
  FakeRouter next(loop_, socket(), "router", "g2");
  next.connect();
  EXPECT_TRUE(wait_until([this] { return replica_status()["busy"] == 0; }));
}

TEST_F(NodeTest, OnlyRoutersAreServed) {
  auto channel = net::ByteChannel::connect_unix(loop_, socket());
  ASSERT_TRUE(channel);
  bool closed = false;
  wire::Hello stranger;
  stranger.role = "worker";
  stranger.id = "w";
  WireLink link(std::move(*channel), stranger,
                {.on_hello = [](const wire::Hello&) -> Result<> { return {}; },
                 .on_frame = [](const wire::Frame&) {},
                 .on_input_end = [] {},
                 .on_close = [&closed](const Error&) { closed = true; }});
  EXPECT_TRUE(wait_until([&closed] { return closed; }));
}

// --- idle ---

TEST_F(NodeTest, AnIdleReplicaIsFrozenAndTheNextCallJustWorks) {
  deploy("double", kDouble, [](catalog::ModelConfig& config) { config.timeouts.idle_pause = milliseconds(100); });
  serve("double");
  router_->wait_for(1, "paused");
  EXPECT_GT(router_->credits(1), 0U);  // counts as warm
  EXPECT_EQ(router_->ask(1, "3").value, "6");
  EXPECT_EQ(launcher_->launches(), 1);
  router_->wait_for(1, "paused");
}

TEST_F(NodeTest, AReplicaIdleForLongIsStoppedAndTheNextCallJustWorks) {
  deploy("double", kDouble, [](catalog::ModelConfig& config) { config.timeouts.idle_stop = milliseconds(200); });
  serve("double");
  router_->wait_for(1, "absent");
  ASSERT_TRUE(wait_until([this] { return std::filesystem::is_empty(root_ / "run" / "replicas"); }));
  EXPECT_EQ(router_->ask(1, "3").value, "6");
  EXPECT_EQ(launcher_->launches(), 2);
}

TEST_F(NodeTest, AReadyFunctionKeepsRequestsAwayWithoutARestart) {
  deploy("gate",
         "import os\nimport model\ndef ready():\n    return os.path.exists('" + (root_ / "open").string() +
             "')\ndef predict(x):\n    return x\n",
         [](catalog::ModelConfig& config) { config.ready = "model:ready"; });
  ASSERT_TRUE(write_file_atomic(root_ / "open", ""));
  serve("gate");
  EXPECT_EQ(router_->ask(1, "1").value, "1");
  std::filesystem::remove(root_ / "open");
  router_->wait_for(1, "loading");
  EXPECT_EQ(router_->credits(1), 0U);
  ASSERT_TRUE(write_file_atomic(root_ / "open", ""));
  router_->wait_for(1, "ready");
  EXPECT_EQ(launcher_->launches(), 1);
}

// --- calls, stopping ---

TEST_F(NodeTest, AnswersStatusAndForgets) {
  deploy("double", kDouble);
  serve("double");
  const nlohmann::json status = router_->answer(router_->call("status", nlohmann::json::object())).json();
  EXPECT_EQ(status["replicas"][0]["model"], "double");
  EXPECT_EQ(status["replicas"][0]["state"], "ready");
  router_->answer(
      router_->call("forget", {{"workspace", "default"}, {"model", "double"}, {"branch", "main"}, {"version", 1}}));
  router_->wait_for(1, "absent");
  EXPECT_EQ(router_->answer(router_->call("dance", {})).status(), Status::raised);
}

TEST_F(NodeTest, ReportsTheLastStartOfAModel) {
  deploy("double", kDouble);
  serve("double");
  nlohmann::json params = {{"workspace", "default"}, {"model", "double"}, {"branch", "main"}, {"version", 0}};
  const nlohmann::json report = router_->answer(router_->call("start_report", params)).json();
  EXPECT_EQ(report["version"], 1);
  EXPECT_EQ(report["state"], "ready");
  EXPECT_GT(report["ready_ms"], 0);
  EXPECT_TRUE(report["began"].is_string());
  double sum = 0;
  for (const auto& phase : report["phases"]) sum += phase["ms"].get<double>();
  EXPECT_GE(sum + 1, report["ready_ms"].get<double>()) << "the phases are all of it";
  params["version"] = 2;
  const Answer none = router_->answer(router_->call("start_report", params));
  EXPECT_EQ(none.status(), Status::raised);
  EXPECT_THAT(none.error(), ::testing::HasSubstr("remembers no start of double"));
}

TEST_F(NodeTest, RunsBlockingCallsBesideRequestsAndPassesTheirProgressOn) {
  calls_["build"] = [](const std::string& params, const CallControl& control) {
    control.progress(R"({"phase":"packages"})");
    return Result<std::string>(R"({"got":)" + params + "}");
  };
  kill_node();
  start_node();
  router_->connect();
  const Answer answer = router_->answer(router_->call("build", {{"model", "m"}}));
  EXPECT_EQ(answer.value, R"({"got":{"model":"m"}})");
  EXPECT_THAT(router_->progress(), ::testing::ElementsAre(R"({"phase":"packages"})"));
}

TEST_F(NodeTest, ACancelledCallIsToldToStop) {
  calls_["build"] = [](const std::string&, const CallControl& control) -> Result<std::string> {
    while (!control.stop.stop_requested()) std::this_thread::sleep_for(milliseconds(1));
    return fail(ErrorCode::cancelled, "stopped");
  };
  kill_node();
  start_node();
  router_->connect();
  const uint64_t call = router_->call("build", nlohmann::json::object());
  router_->cancel(call);
  EXPECT_EQ(router_->answer(call).error(), "stopped");
}

TEST_F(NodeTest, StoppingEndsEveryReplicaOrLeavesThemAll) {
  deploy("double", kDouble);
  serve("double");
  const pid_t pid = replica_pid();
  bool done = false;
  node_->stop(AfterStop::replicas_stop, [&done] { done = true; });
  EXPECT_TRUE(wait_until([&done] { return done; }));
  EXPECT_NE(::kill(pid, 0), 0);
}

}  // namespace
}  // namespace hearth::node
