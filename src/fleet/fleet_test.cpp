// Publisher and watcher together, against a real Redis that is killed and comes back empty.
#include "fleet/fleet_publisher.hpp"
#include "fleet/fleet_watcher.hpp"
#include "redis/test_redis_server.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

namespace hearth::fleet {
namespace {

class FleetTest : public testing::Test {
 protected:
  FleetTest() { server_.start(); }

  redis::RedisOptions options() const {
    return {.address = server_.socket(), .reconnect_first = milliseconds(1), .reconnect_longest = milliseconds(10)};
  }

  void watch(FleetTimes times = {.publish_interval = milliseconds(5), .time_to_live = seconds(10)}) {
    watcher_.emplace(loop_, options(), [this](const FleetWatcher::Nodes& nodes) { last_change_ = nodes; }, times);
  }
  void publish(FleetTimes times = {.publish_interval = milliseconds(5), .time_to_live = seconds(10)}) {
    publisher_.emplace(loop_, options(), times);
  }

  static NodeAnnouncement node(std::string id, std::string model) {
    return {.node_id = std::move(id),
            .address = "/run/node.sock",
            .replicas = {{.workspace = "default",
                          .model = std::move(model),
                          .branch = "main",
                          .version = 1,
                          .state = "ready",
                          .slots = 1}},
            .generation = 100};
  }

  bool until(const std::function<bool()>& done) { return loop_.run_until(done); }
  bool until_known(const std::string& id, const std::string& model) {
    return until([this, &id, &model] {
      auto found = last_change_.find(id);
      return found != last_change_.end() && found->second.replicas[0].model == model;
    });
  }
  void let_pass(Duration duration) {
    loop_.run_until([] { return false; }, duration);
  }

  redis::TestRedisServer server_;
  net::EventLoop loop_;
  FleetWatcher::Nodes last_change_;
  std::optional<FleetWatcher> watcher_;
  std::optional<FleetPublisher> publisher_;
};

TEST_F(FleetTest, ARouterHearsOfNodesAndTheirChanges) {
  watch();
  publish();
  publisher_->announce(node("n1", "first"));
  ASSERT_TRUE(until_known("n1", "first"));
  publisher_->announce(node("n1", "second"));
  ASSERT_TRUE(until_known("n1", "second"));
  bool gone = false;
  publisher_->withdraw([&gone] { gone = true; });
  ASSERT_TRUE(until([this, &gone] { return gone && last_change_.empty(); }));
}

TEST_F(FleetTest, ARouterThatStartsLaterReadsWhatIsThere) {
  FleetTimes rarely = {.publish_interval = seconds(3600), .time_to_live = seconds(3600)};
  publish(rarely);
  publisher_->announce(node("n1", "first"));
  FleetPublisher other(loop_, options(), rarely);
  other.announce(node("n2", "other"));
  let_pass(milliseconds(200));
  watch(rarely);
  ASSERT_TRUE(until_known("n1", "first"));
  ASSERT_TRUE(until_known("n2", "other"));
  EXPECT_TRUE(watcher_->has_read_all());
}

TEST_F(FleetTest, LosingRedisKeepsTheListAndNodesPublishAgain) {
  watch();
  publish();
  publisher_->announce(node("n1", "first"));
  ASSERT_TRUE(until_known("n1", "first"));

  server_.kill();
  ASSERT_TRUE(until([this] { return !watcher_->is_redis_up(); }));
  let_pass(milliseconds(50));
  EXPECT_EQ(watcher_->nodes().size(), 1u);

  server_.start();  // with nothing in it
  ASSERT_TRUE(until([this] { return watcher_->is_redis_up(); }));
  EXPECT_EQ(watcher_->nodes().size(), 1u);
  last_change_.clear();
  FleetWatcher::Nodes seen_by_another;
  FleetWatcher another(loop_, options(),
                       [&seen_by_another](const FleetWatcher::Nodes& nodes) { seen_by_another = nodes; });
  ASSERT_TRUE(until([&seen_by_another] { return seen_by_another.contains("n1"); }));
  publisher_->announce(node("n1", "after"));
  EXPECT_TRUE(until_known("n1", "after"));
}

TEST_F(FleetTest, ASilentNodeLeavesTheListOnlyWhileRedisIsThere) {
  FleetTimes quick = {.publish_interval = milliseconds(5), .time_to_live = milliseconds(60)};
  watch(quick);
  publish(quick);
  publisher_->announce(node("n1", "first"));
  ASSERT_TRUE(until_known("n1", "first"));
  server_.kill();
  publisher_.reset();  // the node dies while nobody can hear of it
  let_pass(milliseconds(200));
  EXPECT_EQ(watcher_->nodes().size(), 1u);
  server_.start();
  EXPECT_TRUE(until([this] { return watcher_->nodes().empty(); }));
  EXPECT_TRUE(watcher_->is_redis_up());
}

TEST_F(FleetTest, OldNewsAndNonsenseAreIgnored) {
  watch();
  bool up = false;
  redis::RedisConnection raw(loop_, options());
  raw.on_up([&up] { up = true; });
  raw.start();
  ASSERT_TRUE(until([this, &up] { return up && watcher_->is_redis_up(); }));
  auto publish_raw = [&raw](std::string payload) {
    raw.command({"PUBLISH", "hearth:nodes", std::move(payload)}, [](const Result<redis::RespValue>&) {});
  };
  NodeAnnouncement late = node("n1", "late");
  late.generation = 99;
  late.sequence = 1000;
  NodeAnnouncement older = node("n1", "older");
  older.sequence = 4;
  NodeAnnouncement current = node("n1", "current");
  current.sequence = 5;
  publish_raw(to_json(current));
  publish_raw(to_json(late));
  publish_raw(to_json(older));
  publish_raw("{nonsense");
  publish_raw(to_json(node("n2", "end")));
  ASSERT_TRUE(until_known("n2", "end"));
  EXPECT_EQ(last_change_.at("n1").replicas[0].model, "current");
  EXPECT_EQ(last_change_.size(), 2u);
}

TEST_F(FleetTest, NodesCanBeAnnouncedBeforeRedisIsThere) {
  server_.kill();
  watch();
  publish();
  publisher_->announce(node("n1", "first"));
  let_pass(milliseconds(20));
  EXPECT_FALSE(watcher_->has_read_all());
  server_.start();
  EXPECT_TRUE(until_known("n1", "first"));
}

}  // namespace
}  // namespace hearth::fleet
