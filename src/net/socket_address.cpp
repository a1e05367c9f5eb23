#include "net/socket_address.hpp"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/un.h>

#include <charconv>
#include <cstring>
#include <memory>

namespace hearth::net {

namespace {

struct HostPort {
  std::string host, port;
};

Result<HostPort> split_host_port(std::string_view text) {
  size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon + 1 == text.size())
    return fail(ErrorCode::invalid_argument, "'" + std::string(text) + "' is not HOST:PORT");
  std::string_view host = text.substr(0, colon);
  std::string_view port = text.substr(colon + 1);
  uint16_t number = 0;  // getaddrinfo would silently cut a larger one down
  auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (error != std::errc() || end != port.data() + port.size())
    return fail(ErrorCode::invalid_argument, "'" + std::string(port) + "' is not a port (0 to 65535)");
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  return HostPort{.host = std::string(host), .port = std::string(port)};
}

Result<SocketAddress> look_up(std::string_view text, int flags) {
  TRY(HostPort parts, split_host_port(text));
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV | AI_PASSIVE;
  addrinfo* found = nullptr;
  int error = ::getaddrinfo(parts.host.empty() ? nullptr : parts.host.c_str(), parts.port.c_str(), &hints, &found);
  if (error != 0)
    return fail(ErrorCode::invalid_argument, "address '" + std::string(text) + "': " + ::gai_strerror(error));
  std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, ::freeaddrinfo);
  sockaddr_storage storage{};
  std::memcpy(&storage, found->ai_addr, found->ai_addrlen);
  return SocketAddress::of(storage, found->ai_addrlen);
}

}  // namespace

Result<SocketAddress> SocketAddress::of_path(const std::filesystem::path& path) {
  SocketAddress address;
  sockaddr_un unix_address{};
  unix_address.sun_family = AF_UNIX;
  const std::string& text = path.native();
  if (text.empty() || text.size() >= sizeof unix_address.sun_path)
    return fail(ErrorCode::invalid_argument, "socket path '" + text + "' must have 1 to 107 bytes");
  std::memcpy(unix_address.sun_path, text.data(), text.size());
  std::memcpy(&address.storage_, &unix_address, sizeof unix_address);
  address.size_ = sizeof unix_address;
  return address;
}

Result<SocketAddress> SocketAddress::numeric(std::string_view host_port) {
  return look_up(host_port, AI_NUMERICHOST);
}

Result<SocketAddress> SocketAddress::resolve(std::string_view host_port) {
  return look_up(host_port, 0);
}

SocketAddress SocketAddress::of(const sockaddr_storage& storage, socklen_t size) {
  SocketAddress address;
  address.storage_ = storage;
  address.size_ = size;
  return address;
}

std::string SocketAddress::to_string() const {
  char host[NI_MAXHOST];
  char port[NI_MAXSERV];
  int family = storage_.ss_family;
  if (family != AF_INET && family != AF_INET6) return {};
  if (::getnameinfo(get(), size_, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) != 0)
    return {};
  if (family == AF_INET6) return "[" + std::string(host) + "]:" + port;
  return std::string(host) + ":" + port;
}

void set_non_blocking(int fd) {
  ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
}

void set_close_on_exec(int fd) {
  ::fcntl(fd, F_SETFD, FD_CLOEXEC);
}

void set_no_delay(int fd) {
  int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

bool is_out_of_descriptors(int errno_value) {
  return errno_value == EMFILE || errno_value == ENFILE || errno_value == ENOBUFS || errno_value == ENOMEM;
}

}  // namespace hearth::net
