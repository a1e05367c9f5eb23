// For tests: a small HTTP/1.1 client on the test's loop.
#pragma once

#include "net/byte_channel.hpp"
#include "net/event_loop.hpp"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace hearth::router {

struct CallerResponse {
  int status = 0;  // 0 until it is complete
  std::map<std::string, std::string> headers;
  std::string body;
};

struct CallerRequest {
  std::string method = "POST";
  std::string path;
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
};

/// One connection; one request at a time.
class HttpCaller {
 public:
  HttpCaller(net::EventLoop& loop, const std::string& address);
  ~HttpCaller();
  /// The response fills up while the loop turns.
  std::shared_ptr<CallerResponse> send(const CallerRequest& request);
  void close();

 private:
  void receive(std::string_view bytes);
  std::shared_ptr<net::ByteChannel> channel_;
  std::string input_;
  std::shared_ptr<CallerResponse> response_;
};

}  // namespace hearth::router
