#include "net/listen.hpp"

#include "net/socket_address.hpp"

#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace hearth::net {

namespace {

constexpr int kBacklog = 4096;

/// Does anybody accept connections there? A listener with a full queue counts.
bool answers(const SocketAddress& address) {
  UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  return probe && (::connect(probe.get(), address.get(), address.size()) == 0 || errno == EAGAIN);
}

}  // namespace

Result<UniqueFd> listen_tcp(std::string_view host_port) {
  TRY(auto address, SocketAddress::resolve(host_port));
  std::string what = "listen on " + std::string(host_port);
  UniqueFd fd(::socket(address.get()->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail_errno(what, errno);
  int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(fd.get(), address.get(), address.size()) != 0) {
    if (errno == EADDRINUSE)
      return fail(ErrorCode::already_exists, what + ": another program has taken this port; choose another, or 0");
    return fail_errno(what, errno);
  }
  if (::listen(fd.get(), kBacklog) != 0) return fail_errno(what, errno);
  return fd;
}

Result<UniqueFd> listen_unix(const UnixListenOptions& options) {
  TRY(auto address, SocketAddress::of_path(options.path));
  std::string what = "listen on " + options.path.string();
  if (answers(address)) return fail(ErrorCode::already_exists, what + ": another process serves this socket");
  struct stat status{};
  if (::lstat(options.path.c_str(), &status) == 0 && !S_ISSOCK(status.st_mode))
    return fail(ErrorCode::already_exists, what + ": the path exists and is no socket");
  // Bound under another name, given its mode and group, then renamed: nobody meets it with wrong permissions.
  std::filesystem::path temporary = options.path;
  temporary += ".new";
  TRY(auto temporary_address, SocketAddress::of_path(temporary));
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail_errno(what, errno);
  ::unlink(temporary.c_str());
  if (::bind(fd.get(), temporary_address.get(), temporary_address.size()) != 0) return fail_errno(what, errno);
  if (options.group && ::chown(temporary.c_str(), static_cast<uid_t>(-1), *options.group) != 0)
    return fail_errno("give " + options.path.string() + " to its group", errno);
  if (::chmod(temporary.c_str(), options.mode) != 0) return fail_errno(what, errno);
  if (::listen(fd.get(), kBacklog) != 0) return fail_errno(what, errno);
  if (::rename(temporary.c_str(), options.path.c_str()) != 0) return fail_errno(what, errno);
  return fd;
}

Result<std::string> resolve_tcp(std::string_view host_port) {
  TRY(auto address, SocketAddress::resolve(host_port));
  return address.to_string();
}

Result<std::string> local_address(int fd) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return fail_errno("getsockname", errno);
  return SocketAddress::of(storage, size).to_string();
}

}  // namespace hearth::net
