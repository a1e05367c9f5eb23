// What happens to requests when the node process is killed and another one takes over.
#include "node/node_fixture.hpp"

namespace hearth::node {
namespace {

using wire::Status;

constexpr const char* kSleep = "import time\ndef predict(s):\n    time.sleep(s)\n    return s\n";

class NodeAdoptionTest : public NodeFixture {
 protected:
  void restart() {
    router_->disconnect();
    kill_node();
    start_node();
    router_->connect();
    router_->open(1, "sleep", false);
  }
};

TEST_F(NodeAdoptionTest, TheNextNodeAdoptsWhatRuns) {
  deploy("sleep", kSleep);
  serve("sleep");
  const pid_t pid = replica_pid();
  restart();
  router_->wait_for(1, "ready");
  EXPECT_EQ(replica_pid(), pid);
  EXPECT_EQ(router_->ask(1, "0").value, "0");
  EXPECT_EQ(launcher_->launches(), 1);
}

TEST_F(NodeAdoptionTest, ARunningRequestIsAnsweredByTheNextNode) {
  deploy("sleep", kSleep);
  serve("sleep");
  const uint64_t running = router_->send(1, "1");
  ASSERT_TRUE(wait_until([this] { return replica_status()["busy"] == 1; }));
  restart();
  router_->attach({running});
  const Answer answer = router_->answer(running);
  EXPECT_EQ(answer.status(), Status::ok);
  EXPECT_EQ(answer.value, "1");
  EXPECT_EQ(router_->times_answered(running), 1);
}

TEST_F(NodeAdoptionTest, AResultTheRouterNeverGotIsStillThere) {
  deploy("sleep", kSleep);
  serve("sleep");
  router_->disconnect();
  router_->connect(Acks::never);
  router_->open(1, "sleep");
  const uint64_t done = router_->send(1, "0.01");
  EXPECT_EQ(router_->answer(done).value, "0.01");  // but say the router lost it before it could tell its caller
  router_->forget_answer(done);
  restart();
  router_->attach({done});
  EXPECT_EQ(router_->answer(done).value, "0.01");
}

TEST_F(NodeAdoptionTest, WhatNeverArrivedIsToldSo) {
  deploy("sleep", kSleep);
  serve("sleep");
  restart();
  router_->attach({4242});
  EXPECT_EQ(router_->answer(4242).status(), Status::unknown);
}

TEST_F(NodeAdoptionTest, AnAttachThatComesDuringALongCallWaitsForExactAnswers) {
  deploy("sleep", kSleep);
  serve("sleep");
  const auto ids = router_->send_many(1, {"1", "0.2", "0.1"});  // one runs, two wait in the node
  ASSERT_TRUE(wait_until([this] { return replica_status()["busy"] == 1; }));
  restart();
  router_->attach(ids);
  EXPECT_EQ(router_->answer(ids[0]).value, "1");
  EXPECT_EQ(router_->answer(ids[1]).status(), Status::unknown);  // died with the node's queue: safe to send again
  EXPECT_EQ(router_->answer(ids[2]).status(), Status::unknown);
}

TEST_F(NodeAdoptionTest, AWorkerThatDiedMeanwhileIsNotTakenForAnIdleOne) {
  deploy("sleep", kSleep);
  serve("sleep");
  const uint64_t running = router_->send(1, "30");
  ASSERT_TRUE(wait_until([this] { return replica_status()["busy"] == 1; }));
  const std::string id = text_field(replica_status(), "id");
  restart();
  router_->attach({running});
  launcher_->die(id);
  EXPECT_EQ(router_->answer(running).status(), Status::worker_died);
}

TEST_F(NodeAdoptionTest, AnAdoptedRequestCanStillBeCancelled) {
  deploy("sleep", kSleep);
  serve("sleep");
  const uint64_t running = router_->send(1, "60");
  ASSERT_TRUE(wait_until([this] { return replica_status()["busy"] == 1; }));
  restart();
  router_->attach({running});
  router_->cancel(running);
  EXPECT_EQ(router_->answer(running).status(), Status::cancelled);
}

TEST_F(NodeAdoptionTest, AFrozenReplicaIsAdoptedFrozenAndThawedByTheNextCall) {
  deploy("sleep", kSleep, [](catalog::ModelConfig& config) { config.timeouts.idle_pause = milliseconds(50); });
  serve("sleep");
  router_->wait_for(1, "paused");
  ASSERT_TRUE(wait_until([this] {
    const auto record = read_replica_record(root_ / "run" / "replicas" / text_field(replica_status(), "id"));
    return record && record->phase == RecordPhase::paused;
  }));
  restart();
  router_->wait_for(1, "paused");
  EXPECT_EQ(router_->ask(1, "0").value, "0");
  EXPECT_EQ(launcher_->launches(), 1);
}

TEST_F(NodeAdoptionTest, RemovesWhatIsDeadOrHalfMade) {
  deploy("sleep", kSleep);
  serve("sleep");
  const pid_t pid = replica_pid();
  const std::string id = text_field(replica_status(), "id");
  std::filesystem::create_directories(root_ / "run" / "replicas" / "half-made");
  ASSERT_TRUE(write_replica_record(root_ / "run" / "replicas" / "half-made", {.id = "half-made",
                                                                              .key = {{"default", "sleep", "main"}, 1},
                                                                              .phase = RecordPhase::starting,
                                                                              .boot_id = machine_boot_id()}));
  router_->disconnect();
  kill_node();
  launcher_->die(id);
  ASSERT_TRUE(
      wait_until([this, pid] { return !launcher_->is_running({.pid = pid, .start_time = process_start_time(pid)}); }));
  start_node();
  EXPECT_TRUE(wait_until([this] { return std::filesystem::is_empty(root_ / "run" / "replicas"); }));
  router_->connect();
  router_->open(1, "sleep");
  router_->wait_for(1, "ready");
}

TEST_F(NodeAdoptionTest, NothingIsLostOverManyRestartsUnderLoad) {
  deploy("sleep", kSleep, [](catalog::ModelConfig& config) { config.resources.slots = 2; });
  serve("sleep");
  std::vector<uint64_t> waiting;
  int answered = 0;
  int again = 0;
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < 20; ++i) waiting.push_back(router_->send(1, "0.003"));
    static_cast<void>(loop_.run_until([] { return false; }, milliseconds(7 * round)));
    restart();
    std::vector<uint64_t> unanswered;
    for (const uint64_t id : waiting) {
      if (!router_->answered(id)) unanswered.push_back(id);
    }
    router_->attach(unanswered);
    for (const uint64_t id : waiting) {
      const Answer answer = router_->answer(id);
      EXPECT_EQ(router_->times_answered(id), 1) << id;
      answer.status() == Status::ok ? ++answered : ++again;
      EXPECT_TRUE(answer.status() == Status::ok || answer.status() == Status::unknown);
    }
    waiting.clear();
  }
  EXPECT_EQ(answered + again, 200);
  EXPECT_GT(answered, 0);
}

}  // namespace
}  // namespace hearth::node
