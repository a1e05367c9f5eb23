#include "supervisor/ready_probe.hpp"

#include "base/unique_fd.hpp"

#include <netdb.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <cstring>
#include <memory>
#include <string_view>

namespace hearth::supervisor {

namespace {

constexpr timeval kHttpTime{0, 500'000};

UniqueFd connect_tcp(const std::string& host, const std::string& port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), port.c_str(), &hints, &found) != 0) return {};
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
  UniqueFd fd(::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return {};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &kHttpTime, sizeof kHttpTime);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &kHttpTime, sizeof kHttpTime);
  if (::connect(fd.get(), found->ai_addr, found->ai_addrlen) != 0) return {};
  return fd;
}

}  // namespace

bool socket_answers(const std::filesystem::path& path, SocketKind kind) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.string().size() >= sizeof address.sun_path) return false;
  std::memcpy(address.sun_path, path.c_str(), path.string().size());
  const UniqueFd fd(::socket(AF_UNIX, (kind == SocketKind::stream ? SOCK_STREAM : SOCK_SEQPACKET) | SOCK_CLOEXEC, 0));
  return fd && ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

bool http_ok(const std::string& url, const std::string& path) {
  constexpr std::string_view kScheme = "http://";
  const size_t colon = url.rfind(':');
  if (!url.starts_with(kScheme) || colon <= kScheme.size()) return false;
  std::string host = url.substr(kScheme.size(), colon - kScheme.size());
  if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
  const UniqueFd fd = connect_tcp(host, url.substr(colon + 1));
  if (!fd) return false;
  const std::string request = "GET " + path + " HTTP/1.1\r\nHost: hearth\r\nConnection: close\r\n\r\n";
  if (::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) return false;
  char head[12] = {};  // "HTTP/1.1 200"
  if (::recv(fd.get(), head, sizeof head, MSG_WAITALL) != sizeof head) return false;
  return std::string_view(head, sizeof head) == "HTTP/1.1 200";
}

}  // namespace hearth::supervisor
