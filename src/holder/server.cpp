#include "holder/server.hpp"

#include "base/log.hpp"
#include "holder/children.hpp"
#include "holder/connection.hpp"
#include "holder/descriptor_budget.hpp"
#include "holder/event_relay.hpp"
#include "holder/kept_descriptors.hpp"
#include "holder/oom_protection.hpp"
#include "holder/signal_fd.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>

namespace hearth::holder {

namespace {

constexpr Duration kLookEvery = milliseconds(250);
constexpr Duration kLookShortest = milliseconds(10);

class Server {
 public:
  /// `signals` are blocked before anybody can connect: who can reach us can also stop us.
  Server(std::unique_ptr<SignalFd> signals, SeqpacketListener listener, uint64_t descriptor_limit,
         std::string oom_score_of_children)
      : listener_(std::move(listener)),
        signals_(std::move(signals)),
        descriptor_limit_(descriptor_limit),
        oom_score_of_children_(std::move(oom_score_of_children)),
        kept_(descriptor_budget(descriptor_limit).kept) {}

  /// As if a client had asked for it.
  Result<Relayed> relay(const Relay& relay, std::vector<UniqueFd>& fds);
  Result<> run();

 private:
  struct Client {
    explicit Client(SeqpacketSocket socket) : connection(std::move(socket)) {}
    Connection connection;
    uint32_t awaited = EPOLLIN;  // what epoll was told to look for
  };

  Result<> watch(int fd, uint32_t events, int operation = EPOLL_CTL_ADD) const;
  /// Handles what is ready.
  Serving turn(std::span<const epoll_event> ready);
  int timeout_ms() const;
  void reap();
  void accept();
  void serve(int fd, uint32_t events);
  /// Sends what waits to be sent and awaits what is to come next.
  void settle(int fd);
  void close(int fd);

  void take_events();
  void tell_listener();
  void await_events();
  /// Descriptors that may still be opened for waiting reads.
  size_t room() const;

  /// Told to stop: whether that is possible now.
  bool may_end();
  void let_go();

  void answer(Connection& connection, SeqpacketMessage& message);
  Result<Done> act(const Put& put, std::vector<UniqueFd>& fds);
  Result<Done> act(const Track& track, std::vector<UniqueFd>& fds);
  void listen(Connection& connection, uint32_t id);
  Counted counts() const;

  SeqpacketListener listener_;
  std::unique_ptr<SignalFd> signals_;
  UniqueFd epoll_{::epoll_create1(EPOLL_CLOEXEC)};
  uint64_t descriptor_limit_;
  std::string oom_score_of_children_;
  KeptDescriptors kept_;
  std::unordered_map<int, std::unique_ptr<Client>> clients_;  // by descriptor
  ExitHistory history_;
  EventRelay relay_;
  int event_listener_ = -1;  // descriptor of its connection
  uint32_t event_listener_id_ = 0;
  int awaited_group_ = -1;  // what epoll looks at
  bool group_paused_ = false;
  bool told_to_stop_ = false;
  size_t in_use_ = 0;         // marked files that somebody has open, while we stay for them alone
  MonoTime look_at_{};        // when they are looked at next
  SeqpacketMessage message_;  // its memory is used again
};

Result<> Server::watch(int fd, uint32_t events, int operation) const {
  epoll_event event{.events = events, .data = {.fd = fd}};
  if (::epoll_ctl(epoll_.get(), operation, fd, &event) == 0) return {};
  return fail_errno("holder: epoll", errno);
}

Result<> Server::run() {
  TRY_VOID(watch(listener_.fd(), EPOLLIN));
  TRY_VOID(watch(signals_->fd(), EPOLLIN));
  reap();  // orphans may have come before the signal was blocked
  for (;;) {
    std::array<epoll_event, 64> ready;
    const int count = ::epoll_wait(epoll_.get(), ready.data(), ready.size(), timeout_ms());
    if (count < 0 && errno != EINTR) return fail_errno("holder: wait", errno);
    if (turn(std::span(ready).first(static_cast<size_t>(std::max(count, 0)))) == Serving::no) told_to_stop_ = true;
    if (told_to_stop_ && may_end()) return {};
  }
}

Serving Server::turn(std::span<const epoll_event> ready) {
  bool callers = false;
  Serving serving = Serving::yes;
  for (const epoll_event& event : ready) {
    const int fd = event.data.fd;
    if (fd == relay_.group_fd()) {
      take_events();
    } else if (fd == signals_->fd()) {
      serving = signals_->take();
      reap();
    } else if (fd == listener_.fd()) {
      callers = true;  // last: a new connection may get the number of one that ended in this turn
    } else {
      serve(fd, event.events);
    }
  }
  if (callers) accept();
  if (relay_.group_fd() >= 0) {
    relay_.expire(mono_now());
    tell_listener();
    await_events();
  }
  return serving;
}

/// The last descriptor of the group must not be closed while a marked file can be read: its holes would be read as
/// zeros. So we stay, for that alone, until nobody has one open or the next imagefs comes. One that is here needs us
/// as ever, and has a copy.
bool Server::may_end() {
  if (relay_.group_fd() < 0) return true;
  if (event_listener_ >= 0) return false;
  if (mono_now() < look_at_) return false;
  look_at_ = mono_now() + kLookEvery;
  if (in_use_ == 0) let_go();
  for (const std::string& name : relay_.names()) {
    const int file = kept_.find(name);
    if (file < 0 || is_used_by_others(file)) continue;
    relay_.release(name, file);
    if (!relay_.is_tracked(name)) kept_.drop(name);
  }
  const size_t before = std::exchange(in_use_, relay_.marks());
  if (in_use_ > 0 && before == 0) {
    log_warning("told to stop, but files of images are in use: staying, so that nobody reads what is missing as zeros",
                {{"files", in_use_}});
  }
  return in_use_ == 0;
}

/// What we keep for others: not needed by those whose reads wait, and it may be what keeps files in use.
void Server::let_go() {
  kept_.keep_only([this](std::string_view name) { return name == kImagesGroup || relay_.is_tracked(name); });
  relay_.refuse();
}

int Server::timeout_ms() const {
  auto at = relay_.expires_at();
  if (told_to_stop_ && event_listener_ < 0)
    at = std::min(at.value_or(MonoTime::max()), std::max(look_at_, mono_now() + kLookShortest));
  if (!at) return -1;
  const auto left = std::chrono::ceil<milliseconds>(*at - mono_now()).count();
  return static_cast<int>(std::clamp<int64_t>(left, 0, 60'000));
}

void Server::reap() {
  const std::vector<Exit> exits = reap_children();
  if (exits.empty()) return;
  std::vector<int> fds;
  fds.reserve(clients_.size());
  for (const auto& [fd, client] : clients_) fds.push_back(fd);
  for (const Exit& exit : exits) {
    const Exit& numbered = history_.add(exit);
    for (const auto& [fd, client] : clients_) client->connection.on_exit(numbered);
  }
  for (const int fd : fds) settle(fd);
}

void Server::accept() {
  auto socket = listener_.accept();
  if (!socket) {
    log_warning("cannot accept", {{"error", socket.error().message}});
    return;
  }
  const auto peer = socket->peer();
  const bool allowed = peer && (peer->uid == 0 || peer->uid == ::geteuid());
  const bool room = clients_.size() < kConnectionsMax;
  const int fd = socket->fd();
  auto client = std::make_unique<Client>(std::move(*socket));
  if (allowed && room && watch(fd, client->awaited)) {
    clients_[fd] = std::move(client);
    return;
  }
  Error error{ErrorCode::denied, "the holder serves only root and its own user"};
  if (allowed) error = {ErrorCode::exhausted, "the holder has too many connections"};
  client->connection.reply({0, std::move(error)});
  (void)client->connection.flush(history_);
  client->connection.discard_requests();
}

void Server::serve(int fd, uint32_t events) {
  const auto found = clients_.find(fd);
  if (found == clients_.end()) return;
  Connection& connection = found->second->connection;
  if ((events & EPOLLIN) != 0) {
    const auto received = connection.receive(message_);
    if (received) {
      answer(connection, message_);
    } else if (received.error().code == ErrorCode::corrupt) {  // longer than a message may be
      connection.reply({0, received.error()});
    } else {
      return close(fd);
    }
  } else if ((events & (EPOLLHUP | EPOLLERR)) != 0) {
    return close(fd);
  }
  settle(fd);
}

void Server::settle(int fd) {
  Client& client = *clients_.at(fd);
  if (!client.connection.flush(history_)) return close(fd);
  const uint32_t wanted =
      (client.connection.owes_replies() ? 0U : EPOLLIN) | (client.connection.blocked() ? EPOLLOUT : 0U);
  if (wanted != client.awaited && watch(fd, wanted, EPOLL_CTL_MOD)) client.awaited = wanted;
}

void Server::close(int fd) {
  clients_.erase(fd);  // epoll forgets it with its last descriptor
  if (fd != event_listener_) return;
  event_listener_ = -1;
  relay_.on_no_listener();
}

void Server::take_events() {
  if (const size_t most = room(); most > 0) relay_.take(most, mono_now());
}

/// Stops reading when no descriptor is left for another waiting read: the rest waits in the kernel.
void Server::await_events() {
  const bool pause = room() == 0;
  if (awaited_group_ >= 0 && pause == group_paused_) return;
  const int operation = awaited_group_ < 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
  if (auto watched = watch(relay_.group_fd(), pause ? 0 : EPOLLIN, operation); !watched) {
    log_error("cannot wait for reads", {{"error", watched.error().message}});
    return;
  }
  awaited_group_ = relay_.group_fd();
  group_paused_ = pause;
}

size_t Server::room() const {
  const uint64_t used = kept_.size() + clients_.size() + relay_.descriptors() + kSpareDescriptors;
  const uint64_t left = used < descriptor_limit_ ? descriptor_limit_ - used : 0;
  const uint64_t always = kEventsAlways - std::min(kEventsAlways, uint64_t{relay_.waiting()});
  return static_cast<size_t>(std::max(left, always));
}

void Server::tell_listener() {
  if (event_listener_ < 0) return;
  Client& listener = *clients_.at(event_listener_);
  while (!listener.connection.blocked()) {
    Events events{relay_.take_untold(kEventsPerMessage)};
    if (events.events.empty()) return;
    const Reply reply{event_listener_id_, std::move(events)};
    if (!listener.connection.push(reply)) return close(event_listener_);
    if (listener.connection.blocked()) {
      relay_.put_back(std::get<Events>(reply.body).events);
      return settle(event_listener_);
    }
  }
}

void Server::answer(Connection& connection, SeqpacketMessage& message) {
  auto request = decode_request(message.bytes);
  if (!request) return connection.reply({id_of(message.bytes), request.error()});
  const uint32_t id = request->id;
  const auto reply = [&connection, id](auto result) {
    if (result) {
      connection.reply({id, std::move(*result)});
    } else {
      connection.reply({id, std::move(result).error()});
    }
  };
  const auto reply_fd = [&connection, id](Result<UniqueFd> fd) {
    if (!fd) return connection.reply({id, fd.error()});
    connection.reply({id, Done{}}, std::move(*fd));
  };
  if (const auto* answers = std::get_if<Answers>(&request->verb)) {
    // Only who listens now knows what they are about.
    if (connection.fd() == event_listener_) relay_.answer(answers->answers);
  } else if (const auto* put = std::get_if<Put>(&request->verb)) {
    reply(act(*put, message.fds));
  } else if (const auto* get = std::get_if<Get>(&request->verb)) {
    reply_fd(kept_.get(get->name));
  } else if (const auto* list = std::get_if<List>(&request->verb)) {
    connection.reply({id, kept_.list(*list)});
  } else if (const auto* drop = std::get_if<Drop>(&request->verb)) {
    relay_.untrack(drop->name);
    kept_.drop(drop->name);
    connection.reply({id, Done{}});
  } else if (const auto* spawn = std::get_if<Spawn>(&request->verb)) {
    auto child = start_child(*spawn, message.fds, oom_score_of_children_);
    if (child && spawn->watch == Watch::yes) connection.watch(id, *child);
    reply(std::move(child));
  } else if (const auto* exited = std::get_if<Exited>(&request->verb)) {
    if (exited->follow == Follow::yes) return connection.follow(id, exited->after);
    connection.reply({id, Exits{history_.after(exited->after)}});
  } else if (const auto* relay = std::get_if<Relay>(&request->verb)) {
    reply(this->relay(*relay, message.fds));
  } else if (const auto* track = std::get_if<Track>(&request->verb)) {
    reply(act(*track, message.fds));
  } else if (const auto* untrack = std::get_if<Untrack>(&request->verb)) {
    relay_.untrack(untrack->name);
    connection.reply({id, Done{}});
  } else if (std::holds_alternative<Listen>(request->verb)) {
    listen(connection, id);
  } else if (const auto* event = std::get_if<EventFd>(&request->verb)) {
    reply_fd(relay_.event_fd(event->sequence));
  } else if (std::holds_alternative<Counts>(request->verb)) {
    connection.reply({id, counts()});
  }
}

Result<Done> Server::act(const Put& put, std::vector<UniqueFd>& fds) {
  if (fds.size() != 1) return fail(ErrorCode::invalid_argument, "put: exactly one descriptor comes with a name");
  TRY_VOID(kept_.check(put.name, relay_.tracked()));
  relay_.untrack(put.name);
  kept_.put(put.name, std::move(fds.front()));
  return Done{};
}

Result<Relayed> Server::relay(const Relay& relay, std::vector<UniqueFd>& fds) {
  if (fds.size() != 1) return fail(ErrorCode::invalid_argument, "relay: exactly one descriptor is the group");
  TRY_VOID(kept_.check(relay.name, relay_.tracked()));
  UniqueFd copy(::fcntl(fds.front().get(), F_DUPFD_CLOEXEC, 0));
  if (!copy) return fail_errno("relay: duplicate the group's descriptor", errno);
  TRY(auto relayed, relay_.begin(relay, std::move(copy)));
  relay_.untrack(relay.name);
  kept_.put(relay.name, std::move(fds.front()));
  return relayed;
}

Result<Done> Server::act(const Track& track, std::vector<UniqueFd>& fds) {
  if (fds.size() != 2)
    return fail(ErrorCode::invalid_argument, "track: two descriptors, the data and the presence file");
  TRY_VOID(kept_.check(track.name, relay_.tracked() + 1));
  TRY_VOID(relay_.track(track, fds[0].get(), out_of_the_way(std::move(fds[1]))));
  kept_.put(track.name, std::move(fds[0]));
  return Done{};
}

void Server::listen(Connection& connection, uint32_t id) {
  if (event_listener_ >= 0) {
    const int before = event_listener_;
    clients_.at(before)->connection.reply(
        {event_listener_id_, Error{ErrorCode::cancelled, "another process listens to reads now"}});
    if (before != connection.fd()) settle(before);
  }
  connection.reply({id, Done{}});
  told_to_stop_ = false;  // the next imagefs goes on with us
  in_use_ = 0;
  event_listener_ = connection.fd();
  event_listener_id_ = id;
  relay_.on_listener();
}

Counted Server::counts() const {
  Counted counted = relay_.counts();
  counted.values.emplace_back("descriptors", kept_.size() + clients_.size() + relay_.descriptors());
  counted.values.emplace_back("descriptors_max", descriptor_limit_);
  counted.values.emplace_back("kept", kept_.size() + relay_.tracked());
  counted.values.emplace_back("kept_max", kept_.most());
  counted.values.emplace_back("in_use", in_use_);
  return counted;
}

}  // namespace

Result<> serve(const Config& config) {
  const uint64_t limit = std::min(raise_descriptor_limit(), config.descriptors_max);
  ::close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);  // children get what was asked for, nothing we inherited
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) return fail_errno("holder: become subreaper", errno);
  auto signals = std::make_unique<SignalFd>();
  TRY(auto listener, SeqpacketListener::listen(config.socket));
  Server server(std::move(signals), std::move(listener), limit, protect_from_oom_killer());
  if (config.group_fd >= 0) {
    // Before anybody is answered: who asks for the group finds it.
    const Relay relay{kImagesGroup, config.predecessor, static_cast<uint32_t>(kReadTimeout.count())};
    std::vector<UniqueFd> group;
    group.emplace_back(::fcntl(config.group_fd, F_DUPFD_CLOEXEC, 0));
    auto relayed = server.relay(relay, group);
    if (!relayed) log_error("cannot go on relaying reads; they wait", {{"error", relayed.error().message}});
  }
  log_info("serving", {{"socket", config.socket.string()}});
  TRY_VOID(server.run());
  log_info("stopping");
  ::unlink(config.socket.c_str());
  return {};
}

}  // namespace hearth::holder
