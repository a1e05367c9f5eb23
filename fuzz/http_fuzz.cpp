// Bytes of a hostile client through the HTTP parser, in one piece and in pieces: both have to see the same requests.
#include "base/result.hpp"
#include "net/http_parser.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace {

struct Seen {
  std::string requests;
  bool broken = false;
};

// The first byte of the input chooses the size of the pieces.
Seen parse(std::string_view bytes, size_t step) {
  hearth::net::HttpParser parser({.header_bytes = 1024, .body_bytes = 4096});
  Seen seen;
  std::string waiting;
  while (!seen.broken) {
    hearth::net::HttpParser::Step result = parser.parse(waiting);
    CHECK_PROMISE(result.used <= waiting.size());
    waiting.erase(0, result.used);
    if (result.status == hearth::net::HttpParser::Status::done) {
      seen.requests += parser.keep_alive() ? "keep " : "close ";
      hearth::net::HttpRequest request = parser.take();
      CHECK_PROMISE(request.body.size() <= 4096);
      seen.requests += request.method + " " + std::string(request.path()) + " " + std::string(request.query());
      (void)request.query_value("x");
      for (size_t i = 0; i < request.headers.size(); ++i)
        seen.requests += std::string(request.headers.name(i)) + "=" + std::string(request.headers.value(i)) + ";";
      seen.requests += request.body + "\n";
    } else if (result.status == hearth::net::HttpParser::Status::broken) {
      CHECK_PROMISE(parser.error_status() >= 400 && !parser.error_message().empty());
      seen.broken = true;
    } else if (bytes.empty()) {
      break;
    } else {
      waiting += bytes.substr(0, step);
      bytes.remove_prefix(std::min(step, bytes.size()));
    }
  }
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  Seen whole = parse(bytes, bytes.size() + 1);
  Seen pieces = parse(bytes, size_t{1} + data[0] % 16);
  // Where a limit is met may depend on the pieces; what was accepted before may not.
  CHECK_PROMISE(whole.requests.starts_with(pieces.requests) || pieces.requests.starts_with(whole.requests));
  if (!whole.broken && !pieces.broken) CHECK_PROMISE(whole.requests == pieces.requests);
  return 0;
}
