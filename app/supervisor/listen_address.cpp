#include "supervisor/listen_address.hpp"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <charconv>
#include <memory>

namespace hearth::supervisor {

namespace {

constexpr int kBacklog = 4096;

using AddressList = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

Result<AddressList> look_up(const ListenAddress& address) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found);
  if (error != 0) {
    return fail(ErrorCode::invalid_argument,
                "--listen: no address of this machine is called '" + address.host + "': " + ::gai_strerror(error));
  }
  return AddressList(found, &::freeaddrinfo);
}

std::string shown(const ListenAddress& address) {
  const bool six = address.host.find(':') != std::string::npos;
  return (six ? "[" + address.host + "]" : address.host) + ":" + std::to_string(address.port);
}

}  // namespace

Result<ListenAddress> ListenAddress::parse(std::string_view text) {
  const auto wrong = [text] {
    return fail(ErrorCode::invalid_argument,
                "--listen: '" + std::string(text) +
                    "' is not HOST:PORT; write for example 127.0.0.1:8080, or port 0 for a free one");
  };
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return wrong();
  std::string_view host = text.substr(0, colon);
  const std::string_view port = text.substr(colon + 1);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  ListenAddress address{std::string(host), 0};
  const auto parsed = std::from_chars(port.data(), port.data() + port.size(), address.port);
  if (host.empty() || port.empty() || parsed.ec != std::errc() || parsed.ptr != port.data() + port.size())
    return wrong();
  return address;
}

Result<UniqueFd> listen_on(const ListenAddress& address) {
  TRY(const AddressList found, look_up(address));
  UniqueFd fd(::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno("create socket", errno);
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(fd.get(), found->ai_addr, found->ai_addrlen) != 0 || ::listen(fd.get(), kBacklog) != 0) {
    if (errno == EADDRINUSE) {
      return fail(ErrorCode::already_exists,
                  "port " + std::to_string(address.port) + " of " + address.host +
                      " is taken by another program: stop it, or choose another with --listen "
                      "HOST:PORT (port 0 picks a free one)");
    }
    return fail_errno("listen on " + shown(address), errno);
  }
  return fd;
}

Result<std::string> url_of_listener(int fd) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) {
    return fail_errno("look at the listening socket", errno);
  }
  char text[INET6_ADDRSTRLEN] = {};
  ListenAddress address;
  if (storage.ss_family == AF_INET6) {
    const auto* six = reinterpret_cast<const sockaddr_in6*>(&storage);
    const bool any = IN6_IS_ADDR_UNSPECIFIED(&six->sin6_addr);
    address = {any ? "::1" : ::inet_ntop(AF_INET6, &six->sin6_addr, text, sizeof text), ntohs(six->sin6_port)};
  } else {
    const auto* four = reinterpret_cast<const sockaddr_in*>(&storage);
    const bool any = four->sin_addr.s_addr == htonl(INADDR_ANY);
    address = {any ? "127.0.0.1" : ::inet_ntop(AF_INET, &four->sin_addr, text, sizeof text), ntohs(four->sin_port)};
  }
  return "http://" + shown(address);
}

}  // namespace hearth::supervisor
