#include "net/http_message.hpp"

#include <algorithm>

namespace hearth::net {

namespace {

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
}

bool same_name(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::ranges::equal(a, b, {}, lower, lower);
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c = lower(c);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/// Length of the valid UTF-8 sequence at the start of the text, 0 if there is none.
size_t utf8_length(std::string_view text) {
  auto byte = [text](size_t i) { return static_cast<unsigned char>(text[i]); };
  unsigned char first = byte(0);
  if (first < 0x80) return 1;
  size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i)
    if ((byte(i) & 0xC0) != 0x80) return 0;
  if (first == 0xE0 && byte(1) < 0xA0) return 0;  // overlong
  if (first == 0xED && byte(1) > 0x9F) return 0;  // surrogate
  if (first == 0xF0 && byte(1) < 0x90) return 0;  // overlong
  if (first == 0xF4 && byte(1) > 0x8F) return 0;  // beyond U+10FFFF
  return length;
}

}  // namespace

void HttpHeaders::add(std::string_view name, std::string_view value) {
  fields_.push_back({.offset = static_cast<uint32_t>(text_.size()),
                     .name_size = static_cast<uint32_t>(name.size()),
                     .value_size = static_cast<uint32_t>(value.size())});
  text_.append(name).append(value);
}

void HttpHeaders::clear() {
  text_.clear();
  fields_.clear();
}

void HttpHeaders::reserve(size_t bytes, size_t fields) {
  text_.reserve(bytes);
  fields_.reserve(fields);
}

std::optional<std::string_view> HttpHeaders::find(std::string_view wanted) const {
  for (size_t i = 0; i < fields_.size(); ++i)
    if (same_name(name(i), wanted)) return value(i);
  return std::nullopt;
}

std::string_view HttpHeaders::name(size_t index) const {
  const Field& field = fields_[index];
  return std::string_view(text_).substr(field.offset, field.name_size);
}

std::string_view HttpHeaders::value(size_t index) const {
  const Field& field = fields_[index];
  return std::string_view(text_).substr(field.offset + field.name_size, field.value_size);
}

std::string_view HttpRequest::path() const {
  std::string_view text = target;
  // "GET http://host/path": what a client sends to a proxy; servers have to take it too.
  if (!text.starts_with('/')) {
    size_t scheme = text.find("://");
    if (scheme == std::string_view::npos) return text.substr(0, text.find('?'));
    size_t slash = text.find('/', scheme + 3);
    text = slash == std::string_view::npos ? std::string_view("/") : text.substr(slash);
  }
  return text.substr(0, text.find('?'));
}

std::string_view HttpRequest::query() const {
  size_t mark = target.find('?');
  return mark == std::string::npos ? std::string_view() : std::string_view(target).substr(mark + 1);
}

std::optional<std::string> HttpRequest::query_value(std::string_view name) const {
  std::string_view rest = query();
  while (!rest.empty()) {
    std::string_view pair = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(pair.size() + 1, rest.size()));
    size_t equals = pair.find('=');
    if (percent_decode(pair.substr(0, equals)) != name) continue;
    return equals == std::string_view::npos ? std::string() : percent_decode(pair.substr(equals + 1));
  }
  return std::nullopt;
}

HttpResponse http_error(int status, std::string_view message) {
  return {.status = status, .body = "{\"error\":" + json_quote(message) + "}"};
}

std::optional<std::string> percent_decode(std::string_view text) {
  std::string decoded;
  decoded.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+') {
      decoded.push_back(' ');
    } else if (text[i] != '%') {
      decoded.push_back(text[i]);
    } else {
      int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
      int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
      if (high < 0 || low < 0) return std::nullopt;
      decoded.push_back(static_cast<char>(high * 16 + low));
      i += 2;
    }
  }
  return decoded;
}

std::string_view http_reason(int status) {
  switch (status) {
    case 100:
      return "Continue";
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 304:
      return "Not Modified";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 410:
      return "Gone";
    case 411:
      return "Length Required";
    case 413:
      return "Content Too Large";
    case 415:
      return "Unsupported Media Type";
    case 417:
      return "Expectation Failed";
    case 422:
      return "Unprocessable Content";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Status";
  }
}

std::string json_quote(std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string quoted = "\"";
  quoted.reserve(text.size() + 2);
  while (!text.empty()) {
    size_t length = utf8_length(text);
    auto byte = static_cast<unsigned char>(text[0]);
    if (length == 0) {
      quoted += "\xEF\xBF\xBD";
      length = 1;
    } else if (byte == '"' || byte == '\\') {
      quoted += {'\\', static_cast<char>(byte)};
    } else if (byte == '\n') {
      quoted += "\\n";
    } else if (byte == '\t') {
      quoted += "\\t";
    } else if (byte == '\r') {
      quoted += "\\r";
    } else if (byte < 0x20) {
      quoted += "\\u00";
      quoted += {kHex[byte >> 4], kHex[byte & 15]};
    } else {
      quoted += text.substr(0, length);
    }
    text.remove_prefix(length);
  }
  return quoted += '"';
}

}  // namespace hearth::net
