#include "redis/redis_connection.hpp"

#include "base/log.hpp"
#include "base/random_id.hpp"
#include "net/byte_channel.hpp"
#include "net/listen.hpp"

#include <algorithm>
#include <deque>
#include <map>
#include <optional>

namespace hearth::redis {

namespace {

constexpr size_t kOutstandingMax = 10'000;
constexpr Duration kCheckInterval = milliseconds(500);

Error lost(std::string_view reason) {
  return {ErrorCode::unavailable, "no connection to Redis: " + std::string(reason)};
}

/// Between half and the whole of the delay, so that a thousand routers do not come back in step.
Duration with_jitter(Duration delay) {
  auto half = static_cast<uint64_t>(delay.count() / 2);
  return Duration(static_cast<int64_t>(half + random_u64() % (half + 1)));
}

}  // namespace

struct RedisConnection::State : std::enable_shared_from_this<RedisConnection::State> {
  struct Waiting {
    Done done;
    MonoTime since;
  };

  net::EventLoop& loop;
  RedisOptions options;
  std::string numeric_address;
  std::shared_ptr<net::ByteChannel> channel;
  RespDecoder decoder;
  std::deque<Waiting> waiting;
  std::map<std::string, std::function<void(std::string_view)>, std::less<>> subscriptions;
  std::function<void()> on_up;
  std::function<void(const Error&)> on_down;
  net::Timer reconnect;
  net::Timer check;
  Duration delay{};
  bool up = false;
  bool told_down = false;  // one log line a loss, not one an attempt

  State(net::EventLoop& l, RedisOptions o) : loop(l), options(std::move(o)) {}

  Result<std::shared_ptr<net::ByteChannel>> dial();
  void connect();
  void greet();
  void become_up();
  void receive(std::string_view bytes);
  void handle(RespValue value);
  void handle_push(RespValue value);
  void send(std::vector<std::string> arguments, Done done);
  void lose(const Error& error);
  void check_replies();
  void answer_all(const Error& error);
};

Result<std::shared_ptr<net::ByteChannel>> RedisConnection::State::dial() {
  if (options.address.starts_with('/')) return net::ByteChannel::connect_unix(loop, options.address);
  if (numeric_address.empty()) {
    TRY(numeric_address, net::resolve_tcp(options.address));
  }
  return net::ByteChannel::connect_tcp(loop, numeric_address);
}

void RedisConnection::State::connect() {
  auto made = dial();
  if (!made) return lose(made.error());
  channel = std::move(*made);
  decoder = RespDecoder();
  auto weak = weak_from_this();
  channel->start({.on_data =
                      [weak](std::string_view bytes) {
                        if (auto self = weak.lock()) self->receive(bytes);
                      },
                  .on_close =
                      [weak](const Error& error) {
                        if (auto self = weak.lock()) self->lose(error);
                      }});
  greet();
}

void RedisConnection::State::greet() {
  std::vector<std::string> hello = {"HELLO", "3"};
  if (!options.password.empty())
    hello.insert(hello.end(), {"AUTH", options.user.empty() ? "default" : options.user, options.password});
  auto weak = weak_from_this();
  send(std::move(hello), [weak](Result<RespValue> reply) {
    auto self = weak.lock();
    if (!self || !self->channel) return;
    if (!reply) return self->lose(reply.error());
    if (self->subscriptions.empty()) return self->become_up();
    std::vector<std::string> subscribe = {"SUBSCRIBE"};
    for (const auto& [name, function] : self->subscriptions) subscribe.push_back(name);
    std::vector<std::string_view> views(subscribe.begin(), subscribe.end());
    self->channel->write(encode_command(views));
    // Subscribing is answered by pushes only; the reply to a PING behind it says that it is in place.
    self->send({"PING"}, [weak](const Result<RespValue>& pong) {
      if (auto again = weak.lock(); again && pong && again->channel) again->become_up();
    });
  });
}

void RedisConnection::State::become_up() {
  up = true;
  told_down = false;
  delay = Duration::zero();
  if (on_up) on_up();
}

void RedisConnection::State::receive(std::string_view bytes) {
  auto keep = shared_from_this();
  auto receiving = channel;
  decoder.feed(bytes);
  while (channel == receiving) {
    auto value = decoder.next();
    if (!value) return lose(value.error());
    if (!*value) return;
    handle(std::move(**value));
  }
}

void RedisConnection::State::handle(RespValue value) {
  if (value.kind == RespValue::Kind::push) return handle_push(std::move(value));
  if (waiting.empty()) return lose({ErrorCode::corrupt, "Redis answered what was not asked"});
  Done done = std::move(waiting.front().done);
  waiting.pop_front();
  if (value.kind == RespValue::Kind::error) return done(fail(ErrorCode::internal, "Redis: " + value.text));
  done(std::move(value));
}

void RedisConnection::State::handle_push(RespValue value) {
  if (value.items.size() != 3 || value.items[0].text != "message") return;
  auto found = subscriptions.find(value.items[1].text);
  if (found == subscriptions.end()) return;
  auto function = found->second;
  function(value.items[2].text);
}

void RedisConnection::State::send(std::vector<std::string> arguments, Done done) {
  std::vector<std::string_view> views(arguments.begin(), arguments.end());
  waiting.push_back({.done = std::move(done), .since = loop.now()});
  channel->write(encode_command(views));
}

void RedisConnection::State::lose(const Error& error) {
  auto keep = shared_from_this();
  bool was_up = std::exchange(up, false);
  if (channel) std::exchange(channel, nullptr)->close();
  delay = std::clamp(delay * 2, options.reconnect_first, options.reconnect_longest);
  reconnect = loop.call_after(with_jitter(delay), [weak = weak_from_this()] {
    if (auto self = weak.lock()) self->connect();
  });
  if (!std::exchange(told_down, true)) log_warning("Redis is not reachable", {{"reason", error.message}});
  answer_all(lost(error.message));
  if (was_up && on_down) on_down(error);
}

void RedisConnection::State::answer_all(const Error& error) {
  for (auto unanswered = std::exchange(waiting, {}); Waiting & command : unanswered) command.done(Unexpected(error));
}

void RedisConnection::State::check_replies() {
  if (channel && !waiting.empty() && loop.now() - waiting.front().since > options.reply_timeout)
    lose({ErrorCode::deadline_exceeded, "it does not answer"});
}

RedisConnection::RedisConnection(net::EventLoop& loop, RedisOptions options)
    : state_(std::make_shared<State>(loop, std::move(options))) {}

RedisConnection::~RedisConnection() {
  state_->on_up = nullptr;
  state_->on_down = nullptr;
  state_->subscriptions.clear();
  state_->reconnect.cancel();
  state_->check.cancel();
  state_->up = false;
  if (state_->channel) std::exchange(state_->channel, nullptr)->close();
  state_->answer_all({ErrorCode::cancelled, "the Redis connection was closed"});
}

void RedisConnection::start() {
  state_->check = state_->loop.call_every(kCheckInterval, [state = state_.get()] { state->check_replies(); });
  state_->connect();
}

bool RedisConnection::is_up() const {
  return state_->up;
}

void RedisConnection::command(std::vector<std::string> arguments, Done done) {
  if (!state_->up) return done(Unexpected(lost("it is not connected")));
  if (state_->waiting.size() >= kOutstandingMax)
    return done(fail(ErrorCode::exhausted, "too many Redis commands are waiting for a reply"));
  state_->send(std::move(arguments), std::move(done));
}

net::Task<Result<RespValue>> RedisConnection::command(std::vector<std::string> arguments) {
  struct Pending {
    explicit Pending(net::EventLoop& loop) : answered(loop) {}
    net::Event answered;
    std::optional<Result<RespValue>> reply;
  };
  auto pending = std::make_shared<Pending>(state_->loop);
  Done done = [pending](Result<RespValue> reply) {
    pending->reply = std::move(reply);
    pending->answered.set();
  };
  command(std::move(arguments), std::move(done));
  co_await pending->answered.wait();
  if (!pending->reply) co_return fail(ErrorCode::cancelled, "stopping");
  co_return std::move(*pending->reply);
}

void RedisConnection::subscribe(std::string channel, std::function<void(std::string_view)> on_message) {
  if (state_->up) {
    std::vector<std::string_view> views = {"SUBSCRIBE", channel};
    state_->channel->write(encode_command(views));
  }
  state_->subscriptions.insert_or_assign(std::move(channel), std::move(on_message));
}

void RedisConnection::on_up(std::function<void()> function) {
  state_->on_up = std::move(function);
}
void RedisConnection::on_down(std::function<void(const Error&)> function) {
  state_->on_down = std::move(function);
}

}  // namespace hearth::redis
