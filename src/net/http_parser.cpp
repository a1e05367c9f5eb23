// Beast asserts that the last chunk's header comes with at least five bytes; fewer is a slow client, not a bug, and
// parses well.
#define BOOST_DISABLE_ASSERTS

#include "net/http_parser.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>

#include <algorithm>
#include <optional>

namespace hearth::net {

namespace beast = boost::beast;
namespace http = boost::beast::http;

namespace {

constexpr size_t kFieldsMax = 128;
constexpr uint64_t kReserveMax = uint64_t{1}
                                 << 20;  // a claimed length is believed up to here, then memory follows data
constexpr size_t kHeaderGuessBytes = 512;
constexpr size_t kHeaderGuessFields = 12;

std::string_view view(beast::string_view text) {
  return {text.data(), text.size()};
}

class RequestParser final : public http::basic_parser<true> {
 public:
  explicit RequestParser(const HttpLimits& limits) {
    header_limit(limits.header_bytes);
    body_limit(limits.body_bytes);
    eager(true);
  }

  HttpRequest request;
  bool http_1_0 = false;
  bool expects_continue = false;
  bool header_ended = false;
  int own_status = 0;  // our own refusal, with its reason
  std::string_view own_message;

 private:
  void refuse(int status, std::string_view message, beast::error_code& error) {
    own_status = status;
    own_message = message;
    error = http::error::bad_field;
  }

  void on_request_impl(http::verb, beast::string_view method, beast::string_view target, int version,
                       beast::error_code&) override {
    request.method = view(method);
    request.target = view(target);
    request.headers.reserve(kHeaderGuessBytes, kHeaderGuessFields);
    http_1_0 = version == 10;
  }

  void on_response_impl(int, beast::string_view, int, beast::error_code&) override {}

  void on_field_impl(http::field field, beast::string_view name, beast::string_view value,
                     beast::error_code& error) override {
    if (header_ended) return;  // trailers of a chunked body carry nothing for us and must not pose as header fields
    if (request.headers.size() == kFieldsMax) return refuse(431, "too many header fields", error);
    if (field == http::field::host && ++hosts_ > 1) return refuse(400, "more than one Host field", error);
    // Anything but plain "chunked" would leave the end of the body to guesswork, which is how requests are smuggled.
    if (field == http::field::transfer_encoding && (http_1_0 || !beast::iequals(value, "chunked")))
      return refuse(501, "the only Transfer-Encoding taken is chunked", error);
    if (field == http::field::expect) expects_continue = beast::iequals(value, "100-continue");
    request.headers.add(view(name), view(value));
  }

  void on_header_impl(beast::error_code& error) override {
    header_ended = true;
    if (hosts_ == 0 && !http_1_0) refuse(400, "the Host field is missing", error);
  }

  void on_body_init_impl(const boost::optional<uint64_t>& length, beast::error_code&) override {
    if (length) request.body.reserve(std::min(*length, kReserveMax));
  }

  size_t on_body_impl(beast::string_view piece, beast::error_code&) override {
    request.body.append(piece.data(), piece.size());
    return piece.size();
  }

  void on_chunk_header_impl(uint64_t, beast::string_view, beast::error_code&) override {}

  size_t on_chunk_body_impl(uint64_t, beast::string_view piece, beast::error_code&) override {
    request.body.append(piece.data(), piece.size());
    return piece.size();
  }

  void on_finish_impl(beast::error_code&) override {}

  int hosts_ = 0;
};

}  // namespace

struct HttpParser::State {
  HttpLimits limits;
  std::optional<RequestParser> parser;
  int error_status = 0;
  std::string error_message;

  explicit State(HttpLimits l) : limits(l) { parser.emplace(limits); }

  Step broken(int status, std::string message) {
    error_status = status;
    error_message = std::move(message);
    return {.status = Status::broken};
  }

  Step explain(const beast::error_code& error) {
    if (parser->own_status != 0) return broken(parser->own_status, std::string(parser->own_message));
    if (error == http::error::header_limit)
      return broken(431, "the header is larger than " + std::to_string(limits.header_bytes) + " bytes");
    if (error == http::error::body_limit)
      return broken(413, "the body is larger than " + std::to_string(limits.body_bytes) + " bytes");
    return broken(400, "malformed HTTP request: " + error.message());
  }
};

HttpParser::HttpParser(HttpLimits limits) : state_(std::make_unique<State>(limits)) {}
HttpParser::~HttpParser() = default;

HttpParser::Step HttpParser::parse(std::string_view bytes) {
  RequestParser& parser = *state_->parser;
  Step step;
  if (!parser.got_some()) {
    // An empty line before a request is left over from sloppy clients (RFC 9112, 2.2).
    while (bytes.substr(step.used).starts_with("\r\n")) step.used += 2;
  }
  while (step.used < bytes.size()) {
    beast::error_code error;
    std::string_view rest = bytes.substr(step.used);
    step.used += parser.put(boost::asio::const_buffer(rest.data(), rest.size()), error);
    if (error == http::error::need_more) break;
    if (error) return state_->explain(error);
    if (parser.is_done()) {
      step.status = Status::done;
      return step;
    }
  }
  // A chunk's extensions and trailers are parsed in one piece, so they are bounded like the header.
  if (bytes.size() - step.used > state_->limits.header_bytes) return state_->broken(400, "a chunk header is too large");
  return step;
}

HttpRequest HttpParser::take() {
  HttpRequest request = std::move(state_->parser->request);
  state_->parser.emplace(state_->limits);
  return request;
}

int HttpParser::error_status() const {
  return state_->error_status;
}
const std::string& HttpParser::error_message() const {
  return state_->error_message;
}
bool HttpParser::is_idle() const {
  return !state_->parser->got_some();
}
bool HttpParser::header_done() const {
  return state_->parser->header_ended;
}
bool HttpParser::expects_continue() const {
  return state_->parser->expects_continue;
}
bool HttpParser::keep_alive() const {
  return state_->parser->keep_alive();
}
bool HttpParser::is_http_1_0() const {
  return state_->parser->http_1_0;
}
size_t HttpParser::body_bytes() const {
  return state_->parser->request.body.size();
}

}  // namespace hearth::net
