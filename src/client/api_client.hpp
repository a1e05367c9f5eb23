// Blocking HTTP client of the public API. One object per thread.
#pragma once

#include "base/result.hpp"
#include "client/endpoint.hpp"

#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace hearth::client {

struct ApiReply {
  int status = 0;
  std::string body;
};

/// Speaks to one endpoint over one kept-alive connection (libcurl: proxies, TLS and CA settings as users expect).
/// A status of 400 and above is an Error carrying the body's `error`; connection trouble is `unavailable` and names
/// the URL.
class ApiClient {
 public:
  explicit ApiClient(Endpoint endpoint);
  ~ApiClient();
  ApiClient(ApiClient&&) noexcept;
  ApiClient& operator=(ApiClient&&) noexcept;

  const Endpoint& endpoint() const { return endpoint_; }

  Result<std::string> get(const std::string& path);
  Result<std::string> post(const std::string& path, std::string_view json);
  Result<std::string> put(const std::string& path, std::string_view body, std::string_view content_type);
  Result<std::string> remove(const std::string& path);

  /// The reply whatever its status: for `hearth call`, which shows errors as the server sent them.
  Result<ApiReply> exchange(const std::string& method, const std::string& path, std::string_view body);

  /// NDJSON: on_line gets each line as it arrives; returning false ends the stream early.
  Result<> stream_lines(const std::string& path, const std::function<bool(std::string_view)>& on_line);

 private:
  struct State;
  Result<ApiReply> perform(const std::string& method, const std::string& path, std::string_view body,
                           std::string_view content_type);

  Endpoint endpoint_;
  std::unique_ptr<State> state_;
};

/// Percent-encodes one path segment or query value.
std::string url_escape(std::string_view text);

}  // namespace hearth::client
