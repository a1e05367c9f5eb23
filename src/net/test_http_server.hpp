// For tests only: an HTTP server with a few paths, and a client that speaks in bytes.
#pragma once

#include "net/http_server.hpp"
#include "net/listen.hpp"

#include <gtest/gtest.h>

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::net {

inline size_t count(std::string_view text, std::string_view part) {
  size_t found = 0;
  for (size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++found;
  return found;
}

/// A client that speaks in bytes.
class Client {
 public:
  explicit Client(uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }

  bool connected() const { return connected_; }
  void send(std::string_view bytes) { ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL); }
  /// As much as the kernel takes now.
  size_t send_some(std::string_view bytes) {
    ssize_t sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    return sent > 0 ? static_cast<size_t>(sent) : 0;
  }
  void finish_sending() { ::shutdown(fd_.get(), SHUT_WR); }
  void close() { fd_.reset(); }

  /// Reads what is there.
  void poll() {
    char buffer[65536];
    ssize_t got = 0;
    while ((got = ::recv(fd_.get(), buffer, sizeof buffer, MSG_DONTWAIT)) > 0)
      text.append(buffer, static_cast<size_t>(got));
    if (got == 0) at_end = true;
    if (got < 0 && errno != EAGAIN) at_end = broken = true;
  }

  std::string text;  // all that came
  bool at_end = false;
  bool broken = false;

 private:
  UniqueFd fd_;
  bool connected_ = false;
};

class HttpServerTest : public testing::Test {
 protected:
  struct Call {
    HttpRequest request;
    std::shared_ptr<HttpExchange> exchange;
  };

  void serve(HttpServerOptions options = {}) {
    auto listening = listen_tcp("127.0.0.1:0");
    ASSERT_TRUE(listening) << listening.error().message;
    std::string address = local_address(listening->get()).value();
    port_ = static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)));
    auto handler = [this](HttpRequest&& request, std::shared_ptr<HttpExchange> exchange) {
      seen_.push_back(request.method + " " + request.target + " " + request.body);
      if (request.path() == "/hold") return calls_.push_back({std::move(request), std::move(exchange)});
      if (request.path() == "/drop") return;
      if (request.path() == "/big") return exchange->respond({.body = std::string(256 * 1024, 'x')});
      exchange->respond({.body = "{\"path\":" + json_quote(request.target) + "}"});
    };
    auto server = HttpServer::start(loop_, std::move(*listening), options, handler);
    ASSERT_TRUE(server) << server.error().message;
    server_ = std::move(*server);
  }

  bool until(Client& client, const std::function<bool()>& done) {
    return loop_.run_until([&client, &done] {
      client.poll();
      return done();
    });
  }
  bool until_text(Client& client, std::string_view end) {
    return until(client, [&client, end] { return client.text.ends_with(end); });
  }
  bool until_end(Client& client) {
    return until(client, [&client] { return client.at_end; });
  }
  bool until_held(size_t calls) {
    return loop_.run_until([this, calls] { return calls_.size() >= calls; });
  }
  void turn() {
    loop_.run_until([] { return false; }, milliseconds(3));
  }

  EventLoop loop_;
  std::unique_ptr<HttpServer> server_;
  uint16_t port_ = 0;
  std::vector<std::string> seen_;
  std::deque<Call> calls_;  // requests to /hold
};

inline constexpr std::string_view kGet = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
inline constexpr std::string_view kHold = "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n";

}  // namespace hearth::net
