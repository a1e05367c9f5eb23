// HTTP requests and responses as plain values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hearth::net {

/// Header fields in the order received; names compare without case. One block of memory for all of them.
class HttpHeaders {
 public:
  void add(std::string_view name, std::string_view value);
  void clear();
  /// First value of that name; valid as long as the headers are not changed.
  std::optional<std::string_view> find(std::string_view name) const;
  size_t size() const { return fields_.size(); }
  std::string_view name(size_t index) const;
  std::string_view value(size_t index) const;
  void reserve(size_t bytes, size_t fields);

 private:
  struct Field {
    uint32_t offset, name_size, value_size;
  };
  std::string text_;
  std::vector<Field> fields_;
};

struct HttpRequest {
  std::string method;  // as sent: "GET"
  std::string target;  // as sent: "/v1/digits/latest?verbose=1"
  HttpHeaders headers;
  std::string body;

  /// The target's parts, not percent-decoded.
  std::string_view path() const;
  std::string_view query() const;
  /// Decoded value of one query parameter.
  std::optional<std::string> query_value(std::string_view name) const;
};

struct HttpResponse {
  int status = 200;
  std::string body;
  std::string_view content_type = "application/json";        // a literal: not copied
  std::vector<std::pair<std::string, std::string>> headers;  // Content-Length, Content-Type, Date are added
};

/// `{"error": message}` with the status.
HttpResponse http_error(int status, std::string_view message);

/// "%41b+c" → "Ab+c"; nullopt when an escape is broken.
std::optional<std::string> percent_decode(std::string_view text);
/// "Not Found" for 404.
std::string_view http_reason(int status);
/// Quotes and escapes; bytes that are not UTF-8 become U+FFFD.
std::string json_quote(std::string_view text);

}  // namespace hearth::net
