// One HTTP request at a time a thread, over libcurl: connections are kept and reused, waiting ends when told.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"
#include "blob/object_store.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hearth::blob {

struct HttpReply {
  int status = 0;
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case
  std::string body;                                          // unless a sink took it

  /// Empty when there is none of that name (given in lower case).
  std::string_view header(std::string_view name) const;
  bool ok() const { return status >= 200 && status < 300; }
};

/// What is sent: bytes, or a part of a file. Borrowed until the exchange returns; may be read more than once.
struct HttpBody {
  std::string_view bytes;
  int fd = -1;  // when not -1: the content is `length` bytes of it from `offset`
  uint64_t offset = 0;
  uint64_t length = 0;
  std::string_view before{};  // around the content: the frame of a multipart body
  std::string_view after{};

  uint64_t content_size() const { return fd < 0 ? bytes.size() : length; }
  uint64_t size() const { return before.size() + content_size() + after.size(); }
};

struct HttpRequest {
  std::string method = "GET";
  std::string url;
  std::vector<std::string> headers;  // "Name: value"
  std::optional<HttpBody> body;
  uint64_t reply_max_bytes = uint64_t{64} << 20;         // of a body kept in memory; exhausted beyond
  std::function<Result<>(const HttpReply&)> on_headers;  // of a 2xx answer, before its body; an error ends it
  ByteSink sink;                                         // takes the body of a 2xx answer
  Patience patience;
};

struct HttpClientOptions {
  Duration connect_timeout = seconds(5);
  Duration stall_timeout = seconds(15);  // without a byte either way
  std::string ca_bundle;                 // empty: the system's
  bool direct = false;                   // no proxy, whatever the environment says: metadata services
};

/// Thread-safe. Redirects are not followed. Errors: unavailable (not reached, cut, stalled, what TLS says), exhausted
/// (a reply over its limit), cancelled, deadline_exceeded, and what on_headers or the sink answered. An HTTP status is
/// none.
class HttpClient {
 public:
  explicit HttpClient(HttpClientOptions options = {});
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  Result<HttpReply> exchange(const HttpRequest& request);

 private:
  struct Pool;
  std::unique_ptr<Pool> pool_;
};

/// "host:port" of a URL, as errors name it.
std::string host_of(std::string_view url);

}  // namespace hearth::blob
