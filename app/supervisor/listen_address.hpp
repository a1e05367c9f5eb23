// The public TCP listener: bound once by the supervisor, handed to every router.
#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace hearth::supervisor {

struct ListenAddress {
  std::string host;  // name or address, without brackets
  uint16_t port = 0;

  /// "127.0.0.1:8080", "[::1]:0", "localhost:8080".
  static Result<ListenAddress> parse(std::string_view text);
};

/// Bound and listening. A taken port is `already_exists` and says what to do.
Result<UniqueFd> listen_on(const ListenAddress& address);

/// Where clients on this machine reach a listening socket: "http://127.0.0.1:8080" also for one bound to 0.0.0.0.
Result<std::string> url_of_listener(int fd);

}  // namespace hearth::supervisor
