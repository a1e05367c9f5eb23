#include "net/http_server.hpp"

#include "base/log.hpp"
#include "net/http_connection.hpp"

#include <errno.h>
#include <sys/socket.h>
#include <time.h>

#include <algorithm>
#include <array>

namespace hearth::net {

namespace {

constexpr int kAcceptsPerTurn = 64;
constexpr Duration kSweepLongest = seconds(1);
constexpr Duration kSweepShortest = milliseconds(2);

// One timer looks after all connections, so that a request costs none.
Duration sweep_interval(const HttpServerOptions& options) {
  Duration shortest =
      std::min({options.idle_timeout, options.header_timeout, options.body_timeout, options.write_timeout});
  return std::clamp<Duration>(shortest / 4, kSweepShortest, kSweepLongest);
}

std::string http_date() {
  time_t now = ::time(nullptr);
  tm parts{};
  ::gmtime_r(&now, &parts);
  std::array<char, 64> text;
  size_t size = ::strftime(text.data(), text.size(), "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &parts);
  return {text.data(), size};
}

}  // namespace

HttpExchange::~HttpExchange() {
  if (connection_ != nullptr) connection_->abandoned();
}

void HttpExchange::respond(HttpResponse response) {
  if (connection_ != nullptr) connection_->respond(std::move(response));
}

void HttpExchange::respond_error(int status, std::string_view message) {
  respond(http_error(status, message));
}

void HttpExchange::start_stream(const HttpResponse& head) {
  if (connection_ != nullptr) connection_->start_stream(head);
}

void HttpExchange::write(std::string_view piece) {
  if (connection_ != nullptr) connection_->write_piece(piece);
}

void HttpExchange::finish() {
  if (connection_ != nullptr) connection_->finish_stream();
}

size_t HttpExchange::pending_bytes() const {
  return connection_ == nullptr ? 0 : connection_->pending_bytes();
}

void HttpExchange::on_drained(std::function<void()> function) {
  if (connection_ == nullptr) return;
  on_drained_ = std::move(function);
  connection_->queue_flush();
}

std::string HttpExchange::peer_address() const {
  return connection_ == nullptr ? std::string() : connection_->peer_address();
}

HttpServer::State::State(EventLoop& l, UniqueFd fd, HttpServerOptions o, HttpHandler h)
    : loop(l), listening(std::move(fd)), options(o), handler(std::move(h)) {}

HttpServer::HttpServer(std::unique_ptr<State> state) : state_(std::move(state)) {}

HttpServer::~HttpServer() {
  state_->drained = nullptr;
  state_->watch.cancel();
  for (auto connections = state_->connections; auto& [raw, connection] : connections) connection->drop();
}

Result<std::unique_ptr<HttpServer>> HttpServer::start(EventLoop& loop, UniqueFd listening, HttpServerOptions options,
                                                      HttpHandler handler) {
  int accepts = 0;
  socklen_t size = sizeof accepts;
  if (::getsockopt(listening.get(), SOL_SOCKET, SO_ACCEPTCONN, &accepts, &size) != 0)
    return fail_errno("serve HTTP on descriptor " + std::to_string(listening.get()), errno);
  if (accepts == 0)
    return fail(ErrorCode::invalid_argument,
                "descriptor " + std::to_string(listening.get()) + " is not a listening socket");
  set_non_blocking(listening.get());
  set_close_on_exec(listening.get());  // an adopted one was inherited
  set_no_delay(listening.get());       // accepted sockets inherit it
  auto state = std::make_unique<State>(loop, std::move(listening), options, std::move(handler));
  State* raw = state.get();
  state->watch = loop.watch(raw->listening.get(), {.readable = true}, [raw](Readiness) { raw->accept_some(); });
  state->sweep_timer = loop.call_every(sweep_interval(options), [raw] { raw->sweep(); });
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(state)));
}

void HttpServer::State::accept_some() {
  for (int i = 0; i < kAcceptsPerTurn; ++i) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    UniqueFd fd(::accept4(listening.get(), reinterpret_cast<sockaddr*>(&address), &size, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (fd) {
      accept_one(std::move(fd), SocketAddress::of(address, size));
    } else if (is_out_of_descriptors(errno)) {
      log_warning("cannot accept connections: out of descriptors or memory", {{"connections", connections.size()}});
      watch.want({});
      accept_retry = loop.call_after(kAcceptRetry, [this] { watch.want({.readable = true}); });
      return;
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return;
    }  // else this one client has gone already
  }
}

void HttpServer::State::accept_one(UniqueFd fd, const SocketAddress& peer) {
  if (connections.size() >= options.connections_max) {
    std::string body = http_error(503, "too many connections").body;
    std::string answer =
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n"
        "Content-Type: application/json\r\nContent-Length: ";
    answer.append(std::to_string(body.size())).append("\r\n\r\n").append(body);
    ::send(fd.get(), answer.data(), answer.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    return;
  }
  auto connection = std::make_shared<HttpConnection>(*this, std::move(fd), peer);
  connections.emplace(connection.get(), connection);
  connection->start();
}

void HttpServer::State::sweep() {
  MonoTime now = loop.now();
  std::vector<std::shared_ptr<HttpConnection>> overdue;
  for (const auto& [raw, connection] : connections)
    if (connection->is_overdue(now)) overdue.push_back(connection);
  for (const auto& connection : overdue) connection->on_overdue();
}

void HttpServer::State::remove(HttpConnection* connection) {
  connections.erase(connection);
  if (draining && connections.empty() && drained) loop.defer(std::exchange(drained, nullptr));
}

std::string_view HttpServer::State::date_line() {
  if (loop.now() >= date_until) {
    date = http_date();
    date_until = loop.now() + seconds(1);
  }
  return date;
}

void HttpServer::drain(std::function<void()> drained) {
  state_->draining = true;
  state_->watch.cancel();
  state_->accept_retry.cancel();
  state_->listening.reset();
  state_->drained = std::move(drained);
  for (auto connections = state_->connections; auto& [raw, connection] : connections) connection->drain();
  if (state_->connections.empty() && state_->drained) state_->loop.defer(std::exchange(state_->drained, nullptr));
}

size_t HttpServer::connections() const {
  return state_->connections.size();
}

}  // namespace hearth::net
