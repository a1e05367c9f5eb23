// One connection to a Redis server (6 or newer, RESP3): pipelined commands, pub/sub beside them, reconnects by itself.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"
#include "net/event_loop.hpp"
#include "net/task.hpp"
#include "redis/resp.hpp"

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::redis {

struct RedisOptions {
  std::string address;   // "/run/…/redis.sock" or "host:port" (a name is looked up once, at start)
  std::string user;      // empty: "default"
  std::string password;  // empty: none
  Duration reconnect_first = milliseconds(50);  // doubles, with jitter, up to …
  Duration reconnect_longest = seconds(2);
  Duration reply_timeout = seconds(5);  // no reply for so long: the connection is given up
};

/// Belongs to the loop's thread. Errors of replies ("ERR …") are `internal`; no connection, or lost before the reply,
/// is `unavailable`: the command may or may not have been executed.
class RedisConnection {
 public:
  using Done = std::function<void(Result<RespValue>)>;

  RedisConnection(net::EventLoop& loop, RedisOptions options);
  /// Outstanding commands are answered with `cancelled`.
  ~RedisConnection();

  /// Begins to connect, and keeps at it. Set the callbacks before.
  void start();
  bool is_up() const;

  /// Never queued while there is no connection: state that is published again anyway is not worth it.
  void command(std::vector<std::string> arguments, Done done);
  net::Task<Result<RespValue>> command(std::vector<std::string> arguments);

  /// Stays subscribed across reconnects.
  void subscribe(std::string channel, std::function<void(std::string_view payload)> on_message);

  /// Called after each (re)connect, once subscriptions are in place; and when the connection is lost.
  void on_up(std::function<void()> function);
  void on_down(std::function<void(const Error&)> function);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace hearth::redis
