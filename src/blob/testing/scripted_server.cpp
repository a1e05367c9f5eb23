#include "blob/testing/scripted_server.hpp"

#include "base/result.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cctype>
#include <charconv>

namespace hearth::blob {

namespace {

constexpr int kAcceptPollMs = 20;

bool same_letter(unsigned char a, unsigned char b) {
  return std::tolower(a) == std::tolower(b);
}

uint64_t number(std::string_view text) {
  uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

/// Until `text` holds a whole head; false when the peer is gone.
bool receive(int fd, std::string& text) {
  char buffer[16 * 1024];
  const ssize_t got = ::recv(fd, buffer, sizeof buffer, 0);
  if (got <= 0) return false;
  text.append(buffer, static_cast<size_t>(got));
  return true;
}

}  // namespace

std::string ScriptedServer::Request::header(std::string_view name) const {
  std::string_view rest = head;
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find("\r\n"));
    rest.remove_prefix(std::min(line.size() + 2, rest.size()));
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos || !std::ranges::equal(line.substr(0, colon), name, same_letter)) continue;
    return std::string(line.substr(line.find_first_not_of(' ', colon + 1)));
  }
  return "";
}

ScriptedServer::ScriptedServer(Answer answer)
    : answer_(std::move(answer)), listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CHECK_PROMISE(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  CHECK_PROMISE(::listen(listener_.get(), 64) == 0);
  socklen_t size = sizeof address;
  CHECK_PROMISE(::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
  port_ = ntohs(address.sin_port);
  accepting_ = std::jthread([this](const std::stop_token& stop) { accept_all(stop); });
}

ScriptedServer::~ScriptedServer() {
  accepting_.request_stop();
  accepting_.join();
  for (const UniqueFd& socket : sockets_) ::shutdown(socket.get(), SHUT_RDWR);
  threads_.clear();
}

std::vector<ScriptedServer::Request> ScriptedServer::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

int ScriptedServer::connections() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int>(sockets_.size());
}

void ScriptedServer::accept_all(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    pollfd waiting{listener_.get(), POLLIN, 0};
    if (::poll(&waiting, 1, kAcceptPollMs) <= 0) continue;
    UniqueFd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!socket) continue;
    const std::lock_guard lock(mutex_);
    threads_.emplace_back([this, fd = socket.get()] { serve(fd); });
    sockets_.push_back(std::move(socket));
  }
}

void ScriptedServer::serve(int fd) {
  std::string text;
  for (;;) {
    size_t end = std::string::npos;
    while ((end = text.find("\r\n\r\n")) == std::string::npos) {
      if (!receive(fd, text)) return;
    }
    Request request;
    const size_t line = text.find("\r\n");
    request.method = text.substr(0, text.find(' '));
    request.path =
        text.substr(request.method.size() + 1, text.find(' ', request.method.size() + 1) - request.method.size() - 1);
    request.head = text.substr(line + 2, end - line);
    text.erase(0, end + 4);
    const uint64_t length = number(request.header("content-length"));
    while (text.size() < length) {
      if (!receive(fd, text)) return;
    }
    request.body = text.substr(0, length);
    text.erase(0, length);
    {
      const std::lock_guard lock(mutex_);
      requests_.push_back(request);
    }
    const std::string reply = answer_(request);
    size_t sent = 0;
    while (sent < reply.size()) {
      const ssize_t wrote = ::send(fd, reply.data() + sent, reply.size() - sent, MSG_NOSIGNAL);
      if (wrote <= 0) return;
      sent += static_cast<size_t>(wrote);
    }
    if (reply.empty() || reply.contains("Connection: close\r\n")) {
      ::shutdown(fd, SHUT_RDWR);
      return;
    }
  }
}

std::string http_answer(int status, std::string_view body, std::string_view more_headers) {
  return "HTTP/1.1 " + std::to_string(status) + " Scripted\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" +
         std::string(more_headers) + "\r\n" + std::string(body);
}

std::string range_answer(const ScriptedServer::Request& request, std::string_view content) {
  const std::string range = request.header("range");
  if (!range.starts_with("bytes=")) return http_answer(200, content);
  const size_t dash = range.find('-');
  const uint64_t first = number(std::string_view(range).substr(6));
  const uint64_t asked =
      dash + 1 < range.size() ? number(std::string_view(range).substr(dash + 1)) : content.size() - 1;
  if (first >= content.size()) return http_answer(416, "");
  const uint64_t last = std::min<uint64_t>(asked, content.size() - 1);
  return http_answer(206, content.substr(first, last - first + 1),
                     "Content-Range: bytes " + std::to_string(first) + "-" + std::to_string(last) + "/" +
                         std::to_string(content.size()) + "\r\n");
}

}  // namespace hearth::blob
