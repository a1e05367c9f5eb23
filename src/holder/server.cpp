#include "holder/server.hpp"

#include "base/log.hpp"
#include "holder/children.hpp"
#include "holder/connection.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <map>
#include <memory>

namespace hearth::holder {

namespace {

constexpr size_t kConnectionsMax = 512;
constexpr size_t kKeptMax = 16 * 1024;        // descriptors
constexpr size_t kNamesBytesMax = 96 * 1024;  // of one page of `list`
constexpr rlim_t kFilesWanted = 20 * 1024;    // kept descriptors, connections, and those in flight

enum class Serving { yes, no };

/// The signals the loop waits for, blocked meanwhile; restored when destroyed.
class SignalFd {
 public:
  SignalFd() {
    sigset_t wanted;
    sigemptyset(&wanted);
    for (const int signal : {SIGCHLD, SIGTERM, SIGINT}) sigaddset(&wanted, signal);
    ::sigprocmask(SIG_BLOCK, &wanted, &before_);
    fd_ = UniqueFd(::signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK));
  }
  ~SignalFd() { ::sigprocmask(SIG_SETMASK, &before_, nullptr); }
  SignalFd(const SignalFd&) = delete;
  SignalFd& operator=(const SignalFd&) = delete;

  int fd() const { return fd_.get(); }
  /// Takes what is pending; `no` when told to stop. Deaths are found by reaping, since signals of one kind merge.
  Serving take() {
    Serving serving = Serving::yes;
    signalfd_siginfo info{};
    while (::read(fd_.get(), &info, sizeof info) == sizeof info) {
      if (info.ssi_signo != SIGCHLD) serving = Serving::no;
    }
    return serving;
  }

 private:
  sigset_t before_{};
  UniqueFd fd_;
};

class Server {
 public:
  explicit Server(SeqpacketListener listener) : listener_(std::move(listener)) {}

  Result<> run();

 private:
  void reap();
  void accept();
  /// False when the connection is to be closed.
  bool serve(Connection& connection, short events);
  void answer(Connection& connection, SeqpacketMessage message);

  Result<Done> act(const Put& put, std::vector<UniqueFd>& fds);
  Result<UniqueFd> act(const Get& get) const;
  Names act(const List& list) const;

  SeqpacketListener listener_;
  SignalFd signals_;
  std::map<std::string, UniqueFd, std::less<>> kept_;
  std::vector<std::unique_ptr<Connection>> connections_;
  ExitHistory history_;
};

Result<> Server::run() {
  for (;;) {
    reap();  // also before the first wait: orphans may have come before the signal was blocked
    std::erase_if(connections_, [this](const auto& connection) { return !connection->flush(history_); });
    std::vector<pollfd> waiting = {{listener_.fd(), POLLIN, 0}, {signals_.fd(), POLLIN, 0}};
    for (const auto& connection : connections_) {
      const short events = connection->blocked() ? POLLOUT : POLLIN;
      waiting.push_back({connection->fd(), events, 0});
    }
    if (::poll(waiting.data(), waiting.size(), -1) < 0) {
      if (errno == EINTR) continue;
      return fail_errno("holder: poll", errno);
    }
    if (waiting[1].revents != 0 && signals_.take() == Serving::no) return {};
    for (size_t i = connections_.size(); i-- > 0;) {
      if (!serve(*connections_[i], waiting[i + 2].revents)) {
        connections_.erase(connections_.begin() + static_cast<std::ptrdiff_t>(i));
      }
    }
    if (waiting[0].revents != 0) accept();
  }
}

void Server::reap() {
  for (const Exit& exit : reap_children()) {
    const Exit& numbered = history_.add(exit);
    for (const auto& connection : connections_) connection->on_exit(numbered);
  }
}

void Server::accept() {
  auto socket = listener_.accept();
  if (!socket) {
    log_warning("cannot accept", {{"error", socket.error().message}});
    return;
  }
  const auto peer = socket->peer();
  const bool allowed = peer && (peer->uid == 0 || peer->uid == ::geteuid());
  const bool room = connections_.size() < kConnectionsMax;
  auto connection = std::make_unique<Connection>(std::move(*socket));
  if (allowed && room) {
    connections_.push_back(std::move(connection));
    return;
  }
  Error error{ErrorCode::denied, "the holder serves only root and its own user"};
  if (allowed) error = {ErrorCode::exhausted, "the holder has too many connections"};
  connection->reply({0, std::move(error)});
  (void)connection->flush(history_);
  connection->discard_requests();
}

bool Server::serve(Connection& connection, short events) {
  if ((events & POLLIN) == 0) return (events & (POLLHUP | POLLERR)) == 0;
  auto message = connection.receive();
  if (message) {
    answer(connection, std::move(*message));
  } else if (message.error().code == ErrorCode::corrupt) {  // longer than a message may be
    connection.reply({0, message.error()});
  } else {
    return false;
  }
  return true;
}

void Server::answer(Connection& connection, SeqpacketMessage message) {
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
  if (const auto* put = std::get_if<Put>(&request->verb)) {
    reply(act(*put, message.fds));
  } else if (const auto* get = std::get_if<Get>(&request->verb)) {
    auto fd = act(*get);
    if (!fd) return connection.reply({id, fd.error()});
    connection.reply({id, Done{}}, std::move(*fd));
  } else if (const auto* list = std::get_if<List>(&request->verb)) {
    connection.reply({id, act(*list)});
  } else if (const auto* drop = std::get_if<Drop>(&request->verb)) {
    kept_.erase(drop->name);
    connection.reply({id, Done{}});
  } else if (const auto* spawn = std::get_if<Spawn>(&request->verb)) {
    auto child = start_child(*spawn, message.fds);
    if (child && spawn->watch == Watch::yes) connection.watch(id, *child);
    reply(std::move(child));
  } else if (const auto* exited = std::get_if<Exited>(&request->verb)) {
    if (exited->follow == Follow::yes) return connection.follow(id, exited->after);
    connection.reply({id, Exits{history_.after(exited->after)}});
  } else {
    connection.reply({id, Error{ErrorCode::invalid_argument, "this holder relays no events"}});
  }
}

Result<Done> Server::act(const Put& put, std::vector<UniqueFd>& fds) {
  if (put.name.empty() || put.name.size() > kNameMax) {
    return fail(ErrorCode::invalid_argument, "put: a name has 1 to 255 bytes");
  }
  if (fds.size() != 1) return fail(ErrorCode::invalid_argument, "put: exactly one descriptor comes with a name");
  const auto held = kept_.find(put.name);
  if (held == kept_.end() && kept_.size() >= kKeptMax) {
    return fail(ErrorCode::exhausted, "put: the holder keeps 16384 descriptors already");
  }
  kept_[put.name] = std::move(fds.front());
  return Done{};
}

Result<UniqueFd> Server::act(const Get& get) const {
  const auto held = kept_.find(get.name);
  if (held == kept_.end()) return fail(ErrorCode::not_found, "the holder keeps nothing named " + get.name);
  UniqueFd copy(::fcntl(held->second.get(), F_DUPFD_CLOEXEC, 0));
  if (!copy) return fail_errno("get: duplicate a descriptor", errno);
  return copy;
}

Names Server::act(const List& list) const {
  Names page;
  size_t bytes = 0;
  auto at = list.after.empty() ? kept_.lower_bound(list.prefix) : kept_.upper_bound(list.after);
  for (; at != kept_.end() && at->first.starts_with(list.prefix); ++at) {
    bytes += at->first.size() + sizeof(uint32_t);
    if (bytes > kNamesBytesMax) {
      page.next = page.names.back();
      break;
    }
    page.names.push_back(at->first);
  }
  return page;
}

/// Root may raise the hard limit too; anybody may raise the soft one to it.
void raise_file_limit() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  const rlim_t hard = std::max(limit.rlim_max, kFilesWanted);
  const rlimit raised{hard, hard};
  if (::setrlimit(RLIMIT_NOFILE, &raised) == 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

Result<> serve(const Config& config) {
  raise_file_limit();
  ::close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);  // children get what was asked for, nothing we inherited
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) return fail_errno("holder: become subreaper", errno);
  TRY(auto listener, SeqpacketListener::listen(config.socket));
  Server server(std::move(listener));
  log_info("serving", {{"socket", config.socket.string()}});
  TRY_VOID(server.run());
  log_info("stopping");
  ::unlink(config.socket.c_str());
  return {};
}

}  // namespace hearth::holder
