// Private to net: bytes → HttpRequest, incrementally. Beast's parser does the work; its headers stay in the .cpp.
#pragma once

#include "net/http_message.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace hearth::net {

struct HttpLimits {
  uint32_t header_bytes = 32 * 1024;
  uint64_t body_bytes = uint64_t{64} << 20;
};

/// Parses one request after the other: parse() until done or broken, take(), parse() the next.
class HttpParser {
 public:
  explicit HttpParser(HttpLimits limits);
  ~HttpParser();

  enum class Status { need_more, done, broken };
  struct Step {
    Status status = Status::need_more;
    size_t used = 0;  // bytes consumed; the rest has to be given again, with more behind it
  };
  Step parse(std::string_view bytes);

  /// After `done`: the request, and the parser begins anew. `keep_alive` and `version` are to be asked before.
  HttpRequest take();

  /// After `broken`: what to answer before closing.
  int error_status() const;
  const std::string& error_message() const;

  /// Nothing of a request has arrived yet.
  bool is_idle() const;
  bool header_done() const;
  bool expects_continue() const;  // asks for "100 Continue" before it sends the body
  bool keep_alive() const;
  bool is_http_1_0() const;
  size_t body_bytes() const;  // received so far

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace hearth::net
