#include "redis/redis_connection.hpp"

#include "net/byte_channel.hpp"
#include "net/listen.hpp"
#include "redis/test_redis_server.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

namespace hearth::redis {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class RedisConnectionTest : public testing::Test {
 protected:
  RedisOptions options() const {
    return {.address = server_.socket(),
            .reconnect_first = milliseconds(1),
            .reconnect_longest = milliseconds(10),
            .reply_timeout = seconds(5)};
  }

  void connect(RedisOptions chosen) {
    redis_.emplace(loop_, std::move(chosen));
    redis_->on_up([this] { ++ups_; });
    redis_->on_down([this](const Error&) { ++downs_; });
    redis_->start();
  }

  bool until_up(int ups = 1) {
    return loop_.run_until([this, ups] { return ups_ >= ups; });
  }

  Result<RespValue> ask(std::vector<std::string> arguments) {
    std::optional<Result<RespValue>> reply;
    redis_->command(std::move(arguments), [&reply](Result<RespValue> got) { reply = std::move(got); });
    loop_.run_until([&reply] { return reply.has_value(); });
    return reply ? std::move(*reply) : fail(ErrorCode::deadline_exceeded, "the test gave up");
  }

  net::EventLoop loop_;
  TestRedisServer server_;
  int ups_ = 0;
  int downs_ = 0;
  std::optional<RedisConnection> redis_;
};

net::Task<> set_and_get(RedisConnection& redis, std::string value, std::string& got, bool& done) {
  std::vector<std::string> set = {"SET", "key", value};
  auto stored = co_await redis.command(std::move(set));
  std::vector<std::string> get = {"GET", "key"};
  auto reply = co_await redis.command(std::move(get));
  if (stored && reply) got = reply->text;
  done = true;
}

TEST_F(RedisConnectionTest, CommandsAreAwaitedAndBinarySafe) {
  server_.start();
  connect(options());
  ASSERT_TRUE(until_up());
  std::string value("bytes\r\n\0\xFF and more", 18);
  std::string got;
  bool done = false;
  loop_.spawn(set_and_get(*redis_, value, got, done));
  ASSERT_TRUE(loop_.run_until([&done] { return done; }));
  EXPECT_EQ(got, value);
}

TEST_F(RedisConnectionTest, ReachesAServerByItsName) {
  std::string address = net::local_address(net::listen_tcp("127.0.0.1:0").value().get()).value();
  std::string port = address.substr(address.rfind(':') + 1);
  server_.start({"--port", port, "--bind", "127.0.0.1", "-::1"});
  RedisOptions chosen = options();
  chosen.address = "localhost:" + port;
  connect(chosen);
  ASSERT_TRUE(until_up());
  EXPECT_EQ(ask({"ECHO", "hello"})->text, "hello");
}

TEST_F(RedisConnectionTest, PipelinedCommandsAreAnsweredInOrder) {
  server_.start();
  connect(options());
  ASSERT_TRUE(until_up());
  std::vector<int64_t> replies;
  for (int i = 0; i < 5000; ++i) {
    redis_->command({"INCR", "counter"}, [&replies](const Result<RespValue>& reply) {
      ASSERT_TRUE(reply) << reply.error().message;
      replies.push_back(reply->integer);
    });
  }
  ASSERT_TRUE(loop_.run_until([&replies] { return replies.size() == 5000; }));
  EXPECT_EQ(replies.front(), 1);
  EXPECT_EQ(replies.back(), 5000);
  EXPECT_TRUE(std::ranges::is_sorted(replies));
}

TEST_F(RedisConnectionTest, AnErrorReplyIsTheErrorOfItsCommandOnly) {
  server_.start();
  connect(options());
  ASSERT_TRUE(until_up());
  auto wrong = ask({"NOSUCHCOMMAND"});
  ASSERT_FALSE(wrong);
  EXPECT_THAT(wrong.error().message, HasSubstr("unknown command"));
  EXPECT_TRUE(ask({"PING"}));
  EXPECT_EQ(downs_, 0);
}

TEST_F(RedisConnectionTest, MessagesArriveBesideCommandsAndAfterARestart) {
  server_.start();
  connect(options());
  std::vector<std::string> messages;
  redis_->subscribe("news", [&messages](std::string_view payload) { messages.emplace_back(payload); });
  ASSERT_TRUE(until_up());
  EXPECT_EQ(ask({"PUBLISH", "news", "first"})->integer, 1);
  ASSERT_TRUE(loop_.run_until([&messages] { return messages.size() == 1; }));
  redis_->subscribe("late", [&messages](std::string_view payload) { messages.emplace_back(payload); });
  EXPECT_EQ(ask({"PUBLISH", "late", "second"})->integer, 1);
  ASSERT_TRUE(loop_.run_until([&messages] { return messages.size() == 2; }));

  server_.kill();
  ASSERT_TRUE(loop_.run_until([this] { return downs_ == 1; }));
  EXPECT_FALSE(redis_->is_up());
  server_.start();
  ASSERT_TRUE(until_up(2));
  EXPECT_EQ(ask({"PUBLISH", "late", "third"})->integer, 1);
  ASSERT_TRUE(loop_.run_until([&messages] { return messages.size() == 3; }));
  EXPECT_THAT(messages, ElementsAre("first", "second", "third"));
}

TEST_F(RedisConnectionTest, WhatIsOutstandingWhenTheServerDiesIsUnavailable) {
  server_.start();
  connect(options());
  ASSERT_TRUE(until_up());
  std::optional<Result<RespValue>> reply;
  redis_->command({"BLPOP", "nothing", "0"}, [&reply](Result<RespValue> got) { reply = std::move(got); });
  loop_.run_until([] { return false; }, milliseconds(5));
  server_.kill();
  ASSERT_TRUE(loop_.run_until([&reply] { return reply.has_value(); }));
  EXPECT_EQ(reply->error().code, ErrorCode::unavailable);
  auto later = ask({"PING"});
  ASSERT_FALSE(later);
  EXPECT_EQ(later.error().code, ErrorCode::unavailable);
}

TEST_F(RedisConnectionTest, AServerThatDoesNotAnswerIsGivenUp) {
  server_.start();
  RedisOptions chosen = options();
  chosen.reply_timeout = milliseconds(1);
  connect(chosen);
  ASSERT_TRUE(until_up());
  std::optional<Result<RespValue>> reply;
  redis_->command({"BLPOP", "nothing", "0"}, [&reply](Result<RespValue> got) { reply = std::move(got); });
  ASSERT_TRUE(loop_.run_until([&reply] { return reply.has_value(); }));
  EXPECT_EQ(reply->error().code, ErrorCode::unavailable);
  EXPECT_GE(downs_, 1);
}

TEST_F(RedisConnectionTest, AuthenticatesWithAPassword) {
  server_.start({"--requirepass", "secret"});
  RedisOptions wrong = options();
  connect(wrong);
  loop_.run_until([] { return false; }, milliseconds(100));
  EXPECT_EQ(ups_, 0);
  RedisOptions right = options();
  right.password = "secret";
  connect(right);
  ASSERT_TRUE(until_up());
  EXPECT_TRUE(ask({"PING"}));
}

TEST_F(RedisConnectionTest, AnotherProtocolBehindTheSocketIsNoConnection) {
  auto listening = net::listen_unix({.path = server_.socket()});
  ASSERT_TRUE(listening);
  std::vector<std::shared_ptr<net::ByteChannel>> accepted;
  auto on_accept = [&accepted](std::shared_ptr<net::ByteChannel> channel) {
    channel->start({});
    channel->write("HTTP/1.1 400 Bad Request\r\n\r\n");
    accepted.push_back(std::move(channel));
  };
  auto listener = net::StreamListener::start(loop_, std::move(*listening), on_accept);
  connect(options());
  EXPECT_TRUE(loop_.run_until([&accepted] { return accepted.size() >= 3; }));  // it tries again
  EXPECT_EQ(ups_, 0);
}

TEST_F(RedisConnectionTest, ClosingAnswersWhatIsOutstanding) {
  server_.start();
  connect(options());
  ASSERT_TRUE(until_up());
  std::optional<Result<RespValue>> reply;
  redis_->command({"BLPOP", "nothing", "0"}, [&reply](Result<RespValue> got) { reply = std::move(got); });
  redis_.reset();
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->error().code, ErrorCode::cancelled);
}

}  // namespace
}  // namespace hearth::redis
