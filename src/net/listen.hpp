// Making listening sockets and connecting ones: TCP host:port and Unix paths.
#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace hearth::net {

/// "127.0.0.1:8080", "[::1]:0", "0.0.0.0:80"; a name is looked up (blocking: at start only). Port 0 picks a free one.
/// Port taken, not allowed …: an error that says which address.
Result<UniqueFd> listen_tcp(std::string_view host_port);

struct UnixListenOptions {
  std::filesystem::path path;
  unsigned mode = 0600;
  std::optional<gid_t> group;  // the socket file's group, e.g. the router's with mode 0660
};

/// Listening stream socket. Replaces the file of a dead listener; `already_exists` when someone still answers there.
Result<UniqueFd> listen_unix(const UnixListenOptions& options);

/// The numeric form of host:port, looking up a name (blocking).
Result<std::string> resolve_tcp(std::string_view host_port);

/// "127.0.0.1:8080" of a bound socket: the real port when 0 was asked for.
Result<std::string> local_address(int fd);

}  // namespace hearth::net
