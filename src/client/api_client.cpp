#include "client/api_client.hpp"

#include <curl/curl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace hearth::client {

namespace {

constexpr long kConnectTimeoutMs = 10'000;

struct FreeHeaders {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using Headers = std::unique_ptr<curl_slist, FreeHeaders>;

void add_header(Headers& headers, const std::string& line) {
  curl_slist* longer = curl_slist_append(headers.get(), line.c_str());
  CHECK_PROMISE(longer != nullptr);
  (void)headers.release();
  headers.reset(longer);
}

size_t append_body(char* data, size_t size, size_t count, void* target) {
  static_cast<std::string*>(target)->append(data, size * count);
  return size * count;
}

ErrorCode code_of_status(long status) {
  switch (status) {
    case 400:
    case 413:
    case 422:
      return ErrorCode::invalid_argument;
    case 401:
    case 403:
      return ErrorCode::denied;
    case 404:
      return ErrorCode::not_found;
    case 408:
      return ErrorCode::deadline_exceeded;
    case 409:
      return ErrorCode::already_exists;
    case 429:
    case 507:
      return ErrorCode::exhausted;
    case 502:
    case 503:
      return ErrorCode::unavailable;
    default:
      return ErrorCode::internal;
  }
}

Unexpected error_of_reply(const Endpoint& endpoint, long status, const std::string& body) {
  const auto json = nlohmann::json::parse(body, nullptr, false);
  std::string message;
  if (json.is_object() && json.contains("error") && json["error"].is_string()) {
    message = json["error"].get<std::string>();
  } else {
    message = fmt::format("{} answered with status {}; is that a Hearth server?", endpoint.url, status);
  }
  return fail(code_of_status(status), std::move(message));
}

Unexpected error_of_curl(const Endpoint& endpoint, CURLcode code, const char* detail) {
  const std::string text = *detail != '\0' ? detail : curl_easy_strerror(code);
  const ErrorCode error = code == CURLE_OPERATION_TIMEDOUT ? ErrorCode::deadline_exceeded : ErrorCode::unavailable;
  return fail(error, fmt::format("cannot reach {}: {}; is 'hearth up' running there?", endpoint.url, text));
}

}  // namespace

struct ApiClient::State {
  struct Free {
    void operator()(CURL* raw) const { curl_easy_cleanup(raw); }
  };
  std::unique_ptr<CURL, Free> curl{curl_easy_init()};
  char error_text[CURL_ERROR_SIZE] = {};
};

ApiClient::ApiClient(Endpoint endpoint) : endpoint_(std::move(endpoint)), state_(std::make_unique<State>()) {
  CHECK_PROMISE(state_->curl != nullptr);
}
ApiClient::~ApiClient() = default;
ApiClient::ApiClient(ApiClient&&) noexcept = default;
ApiClient& ApiClient::operator=(ApiClient&&) noexcept = default;

namespace {

Headers headers_for(const Endpoint& endpoint, std::string_view content_type) {
  Headers headers;
  add_header(headers, "Authorization: Bearer " + endpoint.key);
  if (!endpoint.workspace.empty()) add_header(headers, "X-Hearth-Workspace: " + endpoint.workspace);
  if (!content_type.empty()) add_header(headers, fmt::format("Content-Type: {}", content_type));
  add_header(headers, "Expect:");  // no extra round trip before a body
  return headers;
}

/// Options every request starts from; the key stays in memory, never in argv.
void prepare(CURL* curl, const std::string& url, const std::string& method, curl_slist* headers, char* error_text) {
  curl_easy_reset(curl);
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method.c_str());
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error_text);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, kConnectTimeoutMs);
  curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "hearth-cli");
}

}  // namespace

Result<ApiReply> ApiClient::perform(const std::string& method, const std::string& path, std::string_view body,
                                    std::string_view content_type) {
  CURL* curl = state_->curl.get();
  const std::string url = endpoint_.url + path;
  const Headers headers = headers_for(endpoint_, content_type);
  state_->error_text[0] = '\0';
  prepare(curl, url, method, headers.get(), state_->error_text);
  if (method == "POST" || method == "PUT") {
    // NOLINTNEXTLINE(bugprone-suspicious-stringview-data-usage): the size is the next option
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.data());
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
  }
  ApiReply reply;
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, append_body);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &reply.body);
  const CURLcode code = curl_easy_perform(curl);
  if (code != CURLE_OK) return error_of_curl(endpoint_, code, state_->error_text);
  long status = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  reply.status = static_cast<int>(status);
  return reply;
}

Result<ApiReply> ApiClient::exchange(const std::string& method, const std::string& path, std::string_view body) {
  return perform(method, path, body, body.empty() ? "" : "application/json");
}

namespace {

Result<std::string> body_or_error(const Endpoint& endpoint, Result<ApiReply> reply) {
  if (!reply) return Unexpected(std::move(reply).error());
  if (reply->status >= 400) return error_of_reply(endpoint, reply->status, reply->body);
  return std::move(reply->body);
}

}  // namespace

Result<std::string> ApiClient::get(const std::string& path) {
  return body_or_error(endpoint_, perform("GET", path, {}, {}));
}
Result<std::string> ApiClient::post(const std::string& path, std::string_view json) {
  return body_or_error(endpoint_, perform("POST", path, json, "application/json"));
}
Result<std::string> ApiClient::put(const std::string& path, std::string_view body, std::string_view content_type) {
  return body_or_error(endpoint_, perform("PUT", path, body, content_type));
}
Result<std::string> ApiClient::remove(const std::string& path) {
  return body_or_error(endpoint_, perform("DELETE", path, {}, {}));
}

namespace {

/// Cuts the arriving bytes into lines. An error reply (status >= 400) is collected instead.
struct LineSink {
  CURL* curl;
  const std::function<bool(std::string_view)>* on_line;
  std::string pending;
  bool stopped = false;

  bool is_error_reply() const {
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    return status >= 400;
  }

  static size_t receive(char* data, size_t size, size_t count, void* self_pointer) {
    auto& self = *static_cast<LineSink*>(self_pointer);
    self.pending.append(data, size * count);
    if (self.is_error_reply()) return size * count;
    size_t begin = 0;
    for (size_t end = self.pending.find('\n'); end != std::string::npos; end = self.pending.find('\n', begin)) {
      if (end > begin && !(*self.on_line)(std::string_view(self.pending).substr(begin, end - begin))) {
        self.stopped = true;
        return 0;  // ends the transfer
      }
      begin = end + 1;
    }
    self.pending.erase(0, begin);
    return size * count;
  }
};

}  // namespace

Result<> ApiClient::stream_lines(const std::string& path, const std::function<bool(std::string_view)>& on_line) {
  CURL* curl = state_->curl.get();
  const std::string url = endpoint_.url + path;
  const Headers headers = headers_for(endpoint_, {});
  state_->error_text[0] = '\0';
  prepare(curl, url, "GET", headers.get(), state_->error_text);
  LineSink sink{curl, &on_line, {}};
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, LineSink::receive);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &sink);
  const CURLcode code = curl_easy_perform(curl);
  if (sink.stopped) return {};
  if (code != CURLE_OK) return error_of_curl(endpoint_, code, state_->error_text);
  long status = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  if (status >= 400) return error_of_reply(endpoint_, status, sink.pending);
  if (!sink.pending.empty()) on_line(sink.pending);
  return {};
}

std::string url_escape(std::string_view text) {
  std::string out;
  for (char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = std::isalnum(byte) != 0 || c == '-' || c == '_' || c == '.' || c == '~';
    out += plain ? std::string(1, c) : fmt::format("%{:02X}", byte);
  }
  return out;
}

}  // namespace hearth::client
