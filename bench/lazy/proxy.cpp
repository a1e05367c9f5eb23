// A network between the benchmark's clients and its servers: a TCP proxy on loopback that adds a round trip, limits the
// bandwidth and counts.
//
//   proxy LISTEN_PORT TARGET_PORT CONTROL
//
// CONTROL is a Unix socket; one line a connection:
//   set RTT_US BYTES_PER_S   a round trip in microseconds; down, all connections together (0: no limit)
//   reset                    counters to zero
//   stats                    {"down":…,"up":…,"connections":…,"requests":…}
//
// The model: the first bytes of a new connection wait one round trip (its set-up), and every byte of an answer comes
// one round trip later than the server sent it, without limiting how much is under way. A limited link sends one block
// after the other in the order in which they came. Not modelled: slow start, loss, TLS. "requests" counts the times a
// client speaks after the server spoke, which is requests of HTTP/1.1 without pipelining.
#include "base/clock.hpp"
#include "base/result.hpp"
#include "base/unique_fd.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace hearth::bench {

namespace {

constexpr size_t kBlockBytes = size_t{256} << 10;
constexpr size_t kPacedBlockBytes = size_t{32} << 10;  // so that connections share a limited link fairly
constexpr size_t kMaxQueuedBytes = size_t{64} << 20;   // under way in one direction of one connection
constexpr Duration kReadAhead = milliseconds(10);      // of a limited link: longer than a late wake-up
constexpr Duration kIdleWait = seconds(3600);
constexpr int kEventsPerTurn = 64;
constexpr size_t kControlLineBytes = 256;

struct Counters {
  uint64_t down = 0;
  uint64_t up = 0;
  uint64_t connections = 0;
  uint64_t requests = 0;
};

/// What the network is like now. The link is shared by all connections.
struct Link {
  Duration round_trip{};
  uint64_t bytes_per_second = 0;
  MonoTime free_at{};

  bool may_read(MonoTime now) const { return bytes_per_second == 0 || free_at - now < kReadAhead; }
  /// When the last of these bytes has left the server's side.
  MonoTime sent(size_t bytes, MonoTime now) {
    if (bytes_per_second == 0) return now;
    const double wire_seconds = static_cast<double>(bytes) / static_cast<double>(bytes_per_second);
    free_at =
        std::max(free_at, now) + std::chrono::duration_cast<Duration>(std::chrono::duration<double>(wire_seconds));
    return free_at;
  }
};

struct Block {
  MonoTime due;
  std::unique_ptr<std::array<char, kBlockBytes>> bytes;
  size_t size = 0;  // 0: the end of the stream
  size_t written = 0;
};

/// One direction of a connection.
struct Stream {
  std::deque<Block> queue;
  size_t queued_bytes = 0;
  bool read_ended = false;
  bool ended = false;
};

/// One socket of a connection. `interest` is what epoll watches for (0: not registered), `ready` what it saw last.
struct End {
  UniqueFd fd;
  uint32_t interest = 0;
  uint32_t ready = 0;
};

struct Connection {
  End client;
  End server;
  Stream up;
  Stream down;
  MonoTime set_up_at;
  bool server_spoke_last = true;
};

sockaddr_in loopback(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

Result<UniqueFd> listen_at(const sockaddr* address, socklen_t length, std::string_view what) {
  UniqueFd fd(::socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (::bind(fd.get(), address, length) != 0 || ::listen(fd.get(), SOMAXCONN) != 0) {
    return fail_errno("listen at " + std::string(what), errno);
  }
  return fd;
}

Result<UniqueFd> listen_at_port(uint16_t port) {
  const sockaddr_in address = loopback(port);
  return listen_at(reinterpret_cast<const sockaddr*>(&address), sizeof(address), "port " + std::to_string(port));
}

Result<UniqueFd> listen_at_path(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) return fail(ErrorCode::invalid_argument, "path too long: " + path);
  std::ranges::copy(path, address.sun_path);
  ::unlink(path.c_str());
  return listen_at(reinterpret_cast<const sockaddr*>(&address), sizeof(address), path);
}

void send_at_once(int socket) {
  const int on = 1;
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

template <class Number>
Number number_of(std::string_view text) {
  Number number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

class Proxy {
 public:
  /// Serves until the process is ended; returns only with an error.
  static Result<> run(uint16_t listen_port, uint16_t target_port, const std::string& control_path);

 private:
  Proxy(UniqueFd listener, UniqueFd control, uint16_t target_port)
      : listener_(std::move(listener)), control_(std::move(control)), target_port_(target_port) {}

  void accept_client();
  void answer_control();
  std::string obey(std::string_view line);
  bool transfer(Connection& connection);
  bool read_some(Connection& connection, Stream& stream, int from);
  bool write_due(Stream& stream, int to);
  void watch(End& end, uint32_t wanted) const;
  MonoTime update_interest(Connection& connection) const;
  void wait_until(MonoTime wake);
  void turn();

  UniqueFd epoll_{::epoll_create1(EPOLL_CLOEXEC)};
  UniqueFd listener_;
  UniqueFd control_;
  uint16_t target_port_;
  Link link_;
  Counters counters_;
  std::list<Connection> connections_;
  MonoTime wake_ = MonoTime::max();
};

void Proxy::accept_client() {
  UniqueFd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!client) return;
  UniqueFd server(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in target = loopback(target_port_);
  if (::connect(server.get(), reinterpret_cast<const sockaddr*>(&target), sizeof(target)) != 0) return;
  ::fcntl(server.get(), F_SETFL, O_NONBLOCK);
  send_at_once(client.get());
  send_at_once(server.get());
  ++counters_.connections;
  Connection& connection = connections_.emplace_back();
  connection.client.fd = std::move(client);
  connection.server.fd = std::move(server);
  connection.set_up_at = mono_now() + link_.round_trip;
}

std::string Proxy::obey(std::string_view line) {
  while (!line.empty() && (line.back() == '\n' || line.back() == '\0')) line.remove_suffix(1);
  if (line.starts_with("set ")) {
    line.remove_prefix(4);
    const size_t space = std::min(line.find(' '), line.size());
    link_.round_trip = microseconds(number_of<int64_t>(line.substr(0, space)));
    link_.bytes_per_second = space < line.size() ? number_of<uint64_t>(line.substr(space + 1)) : 0;
    link_.free_at = {};
  } else if (line == "reset") {
    counters_ = {};
  } else if (line != "stats") {
    return "{\"error\":\"set RTT_US BYTES_PER_S, reset or stats\"}\n";
  }
  return "{\"down\":" + std::to_string(counters_.down) + ",\"up\":" + std::to_string(counters_.up) +
         ",\"connections\":" + std::to_string(counters_.connections) +
         ",\"requests\":" + std::to_string(counters_.requests) + "}\n";
}

void Proxy::answer_control() {
  const UniqueFd peer(::accept4(control_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!peer) return;
  const timeval patience{.tv_sec = 1, .tv_usec = 0};
  ::setsockopt(peer.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  std::array<char, kControlLineBytes> line{};
  const ssize_t got = ::recv(peer.get(), line.data(), line.size(), 0);
  if (got <= 0) return;
  const std::string answer = obey({line.data(), static_cast<size_t>(got)});
  (void)::send(peer.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
}

/// False when the connection is broken.
bool Proxy::read_some(Connection& connection, Stream& stream, int from) {
  const bool is_down = &stream == &connection.down;
  const MonoTime now = mono_now();
  if (stream.read_ended || stream.queued_bytes >= kMaxQueuedBytes || (is_down && !link_.may_read(now))) return true;
  Block block;
  block.bytes = std::make_unique_for_overwrite<std::array<char, kBlockBytes>>();
  const size_t most = is_down && link_.bytes_per_second > 0 ? kPacedBlockBytes : kBlockBytes;
  const ssize_t got = ::recv(from, block.bytes->data(), most, 0);
  if (got < 0) return errno == EAGAIN || errno == EINTR;
  block.size = static_cast<size_t>(got);
  if (is_down) {
    block.due = link_.sent(block.size, now) + link_.round_trip;
    counters_.down += block.size;
    if (block.size > 0) connection.server_spoke_last = true;
  } else {
    block.due = std::max(now, connection.set_up_at);
    counters_.up += block.size;
    if (block.size > 0 && std::exchange(connection.server_spoke_last, false)) ++counters_.requests;
  }
  stream.read_ended = block.size == 0;
  stream.queued_bytes += block.size;
  stream.queue.push_back(std::move(block));
  return true;
}

/// False when the connection is broken.
bool Proxy::write_due(Stream& stream, int to) {
  const MonoTime now = mono_now();
  while (!stream.queue.empty() && stream.queue.front().due <= now) {
    Block& block = stream.queue.front();
    if (block.size == 0) {
      ::shutdown(to, SHUT_WR);
      stream.ended = true;
    } else {
      const ssize_t sent = ::send(to, block.bytes->data() + block.written, block.size - block.written, MSG_NOSIGNAL);
      if (sent < 0) return errno == EAGAIN || errno == EINTR;
      block.written += static_cast<size_t>(sent);
      stream.queued_bytes -= static_cast<size_t>(sent);
      if (block.written < block.size) return true;
    }
    stream.queue.pop_front();
  }
  return true;
}

/// Moves what can be moved now. False when the connection is over.
bool Proxy::transfer(Connection& connection) {
  End& client = connection.client;
  End& server = connection.server;
  if (((client.ready | server.ready) & EPOLLERR) != 0) return false;
  constexpr uint32_t kReadable = EPOLLIN | EPOLLHUP;
  bool whole = true;
  if ((client.ready & kReadable) != 0) whole = read_some(connection, connection.up, client.fd.get());
  if ((server.ready & kReadable) != 0) whole = read_some(connection, connection.down, server.fd.get()) && whole;
  whole = whole && write_due(connection.up, server.fd.get()) && write_due(connection.down, client.fd.get());
  client.ready = server.ready = 0;
  return whole && !(connection.up.ended && connection.down.ended);
}

void Proxy::watch(End& end, uint32_t wanted) const {
  if (end.interest == wanted) return;
  epoll_event event{.events = wanted, .data = {.ptr = &end}};
  const int change = end.interest == 0 ? EPOLL_CTL_ADD : wanted == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;
  CHECK_PROMISE(::epoll_ctl(epoll_.get(), change, end.fd.get(), &event) == 0);
  end.interest = wanted;
}

/// Tells epoll what to wait for. Returns when to look at the connection again without any event.
MonoTime Proxy::update_interest(Connection& connection) const {
  const MonoTime now = mono_now();
  MonoTime wake = MonoTime::max();
  const auto readable = [](const Stream& stream) {
    return !stream.read_ended && stream.queued_bytes < kMaxQueuedBytes;
  };
  const auto writable = [now, &wake](const Stream& stream) {
    if (stream.queue.empty()) return false;
    if (stream.queue.front().due <= now) return true;
    wake = std::min(wake, stream.queue.front().due);
    return false;
  };
  const uint32_t client_writable = writable(connection.down) ? EPOLLOUT : 0U;
  const uint32_t server_writable = writable(connection.up) ? EPOLLOUT : 0U;
  bool read_server = readable(connection.down);
  if (read_server && !link_.may_read(now)) {
    read_server = false;
    wake = std::min(wake, link_.free_at - kReadAhead);
  }
  watch(connection.client, client_writable | (readable(connection.up) ? EPOLLIN : 0U));
  watch(connection.server, server_writable | (read_server ? EPOLLIN : 0U));
  return wake;
}

void Proxy::wait_until(MonoTime wake) {
  const Duration left = std::clamp(wake - mono_now(), Duration::zero(), Duration(kIdleWait));
  const auto whole = std::chrono::duration_cast<seconds>(left);
  const timespec timeout{.tv_sec = whole.count(), .tv_nsec = (left - whole).count()};
  std::array<epoll_event, kEventsPerTurn> events{};
  const int count = ::epoll_pwait2(epoll_.get(), events.data(), kEventsPerTurn, &timeout, nullptr);
  for (const epoll_event& event : std::span(events).first(static_cast<size_t>(std::max(count, 0)))) {
    if (event.data.ptr == &listener_) {
      accept_client();
    } else if (event.data.ptr == &control_) {
      answer_control();
    } else {
      static_cast<End*>(event.data.ptr)->ready = event.events;
    }
  }
}

void Proxy::turn() {
  wait_until(wake_);
  wake_ = MonoTime::max();
  for (auto connection = connections_.begin(); connection != connections_.end();) {
    if (transfer(*connection)) {
      wake_ = std::min(wake_, update_interest(*connection));
      ++connection;
    } else {
      connection = connections_.erase(connection);
    }
  }
}

Result<> Proxy::run(uint16_t listen_port, uint16_t target_port, const std::string& control_path) {
  ::prctl(PR_SET_TIMERSLACK, 1);  // wake-ups to the microsecond, as far as the machine can
  TRY(UniqueFd listener, listen_at_port(listen_port));
  TRY(UniqueFd control, listen_at_path(control_path));
  Proxy proxy(std::move(listener), std::move(control), target_port);
  for (UniqueFd* source : {&proxy.listener_, &proxy.control_}) {
    epoll_event event{.events = EPOLLIN, .data = {.ptr = source}};
    if (::epoll_ctl(proxy.epoll_.get(), EPOLL_CTL_ADD, source->get(), &event) != 0)
      return fail_errno("epoll_ctl", errno);
  }
  for (;;) proxy.turn();
}

}  // namespace

int serve(std::span<char*> arguments) {
  if (arguments.size() != 4) {
    std::fprintf(stderr, "usage: proxy LISTEN_PORT TARGET_PORT CONTROL\n");
    return 2;
  }
  const auto served = Proxy::run(number_of<uint16_t>(arguments[1]), number_of<uint16_t>(arguments[2]), arguments[3]);
  if (!served) std::fprintf(stderr, "proxy: %s\n", served.error().message.c_str());
  return 1;
}

}  // namespace hearth::bench

int main(int argc, char** argv) {
  return hearth::bench::serve(std::span(argv, static_cast<size_t>(argc)));
}
