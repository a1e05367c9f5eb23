// A small HTTP server for tests: what it answers is a function. Simulated metadata services, mirrors, stores.
#pragma once

#include "base/unique_fd.hpp"

#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace hearth::blob {

class ScriptedServer {
 public:
  struct Request {
    std::string method;
    std::string path;  // with its query, as it was sent
    std::string head;  // all header lines
    std::string body;

    /// Empty when there is none of that name (any case).
    std::string header(std::string_view name) const;
  };
  /// The whole answer, bytes on the wire; empty: the connection is closed without one. Called from many threads.
  using Answer = std::function<std::string(const Request&)>;

  explicit ScriptedServer(Answer answer);
  /// Ends all connections.
  ~ScriptedServer();
  ScriptedServer(const ScriptedServer&) = delete;
  ScriptedServer& operator=(const ScriptedServer&) = delete;

  std::string url() const { return "http://" + host(); }
  std::string host() const { return "127.0.0.1:" + std::to_string(port_); }
  std::vector<Request> requests() const;
  int connections() const;

 private:
  void accept_all(const std::stop_token& stop);
  void serve(int fd);

  Answer answer_;
  UniqueFd listener_;
  int port_ = 0;
  mutable std::mutex mutex_;
  std::vector<Request> requests_;
  std::vector<UniqueFd> sockets_;
  std::vector<std::jthread> threads_;
  std::jthread accepting_;
};

/// "HTTP/1.1 200 …" with this body; more header lines end with "\r\n" each.
std::string http_answer(int status, std::string_view body, std::string_view more_headers = "");
/// What a server of files answers to a request for a range of this content.
std::string range_answer(const ScriptedServer::Request& request, std::string_view content);

}  // namespace hearth::blob
