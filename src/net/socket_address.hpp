// Private to net: socket addresses and the few socket options in use.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"

#include <sys/socket.h>

#include <filesystem>
#include <string>
#include <string_view>

namespace hearth::net {

class SocketAddress {
 public:
  static Result<SocketAddress> of_path(const std::filesystem::path& path);
  /// "10.0.0.7:80", "[::1]:80".
  static Result<SocketAddress> numeric(std::string_view host_port);
  /// The same, but a host name is looked up (blocking).
  static Result<SocketAddress> resolve(std::string_view host_port);
  /// From accept4 or getsockname.
  static SocketAddress of(const sockaddr_storage& storage, socklen_t size);

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage_); }
  socklen_t size() const { return size_; }
  /// "127.0.0.1:80"; empty for Unix sockets.
  std::string to_string() const;

 private:
  sockaddr_storage storage_{};
  socklen_t size_ = 0;
};

void set_non_blocking(int fd);
void set_close_on_exec(int fd);
void set_no_delay(int fd);

/// accept failed for lack of descriptors or memory: the connection stays in the queue, so try again after a while.
bool is_out_of_descriptors(int errno_value);
inline constexpr Duration kAcceptRetry = milliseconds(100);

}  // namespace hearth::net
