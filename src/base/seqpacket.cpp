#include "base/seqpacket.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>

namespace hearth {

namespace {

Result<sockaddr_un> address_of(const std::filesystem::path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.string().size() >= sizeof address.sun_path) {
    return fail(ErrorCode::invalid_argument, "socket path longer than 107 bytes: " + path.string());
  }
  std::memcpy(address.sun_path, path.c_str(), path.string().size());
  return address;
}

Result<UniqueFd> new_socket() {
  UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno("create socket", errno);
  return fd;
}

const sockaddr* as_sockaddr(const sockaddr_un& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

Result<> wait_readable(int fd, Deadline deadline) {
  for (;;) {
    int timeout_ms = -1;
    if (auto left = deadline.left(mono_now())) {
      timeout_ms = static_cast<int>(std::chrono::ceil<milliseconds>(*left).count());
    }
    pollfd waiter{fd, POLLIN, 0};
    const int ready = ::poll(&waiter, 1, timeout_ms);
    if (ready > 0) return {};
    if (ready == 0) return fail(ErrorCode::deadline_exceeded, "no answer in time");
    if (errno != EINTR) return fail_errno("poll", errno);
  }
}

void collect_fds(msghdr& header, std::vector<UniqueFd>& fds) {
  for (cmsghdr* control = CMSG_FIRSTHDR(&header); control != nullptr; control = CMSG_NXTHDR(&header, control)) {
    if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(control) + i * sizeof(int), sizeof fd);
      fds.emplace_back(fd);
    }
  }
}

}  // namespace

Result<SeqpacketSocket> SeqpacketSocket::connect(const std::filesystem::path& path) {
  TRY(auto address, address_of(path));
  TRY(auto fd, new_socket());
  if (::connect(fd.get(), as_sockaddr(address), sizeof address) != 0) {
    return fail_errno("connect to " + path.string(), errno);
  }
  return SeqpacketSocket(std::move(fd));
}

Result<> SeqpacketSocket::send(std::string_view bytes, const std::vector<int>& fds) {
  if (bytes.size() > kSeqpacketMessageMax || fds.size() > kSeqpacketFdsMax) {
    return fail(ErrorCode::invalid_argument, "message too large for a seqpacket socket");
  }
  iovec part{const_cast<char*>(bytes.data()), bytes.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  std::string control(CMSG_SPACE(fds.size() * sizeof(int)), '\0');
  if (!fds.empty()) {
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    std::memcpy(CMSG_DATA(rights), fds.data(), fds.size() * sizeof(int));
  }
  for (;;) {
    if (::sendmsg(fd_.get(), &header, MSG_NOSIGNAL) >= 0) return {};
    if (errno != EINTR) return fail_errno("send", errno);
  }
}

Result<SeqpacketMessage> SeqpacketSocket::receive(Deadline deadline) {
  SeqpacketMessage message;
  TRY_VOID(receive_into(message, deadline));
  return message;
}

Result<> SeqpacketSocket::receive_into(SeqpacketMessage& message, Deadline deadline) {
  message.fds.clear();
  if (deadline.at()) TRY_VOID(wait_readable(fd_.get(), deadline));
  alignas(cmsghdr) char control[CMSG_SPACE(kSeqpacketFdsMax * sizeof(int))];
  msghdr header{};
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  ssize_t got = -1;
  message.bytes.resize_and_overwrite(kSeqpacketMessageMax, [&](char* bytes, size_t size) {
    iovec part{bytes, size};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    do {
      got = ::recvmsg(fd_.get(), &header, MSG_CMSG_CLOEXEC);
    } while (got < 0 && errno == EINTR);
    return static_cast<size_t>(got < 0 ? 0 : got);
  });
  if (got < 0) return fail_errno("receive", errno);
  collect_fds(header, message.fds);
  if (got == 0) return fail(ErrorCode::unavailable, "the peer closed the connection");
  if ((header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
    return fail(ErrorCode::corrupt, "message larger than the protocol allows");
  }
  return {};
}

Result<PeerCredentials> SeqpacketSocket::peer() const {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(fd_.get(), SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
    return fail_errno("read peer credentials", errno);
  }
  return PeerCredentials{credentials.pid, credentials.uid, credentials.gid};
}

Result<SeqpacketListener> SeqpacketListener::listen(const std::filesystem::path& path, unsigned mode) {
  TRY(auto address, address_of(path));
  if (SeqpacketSocket::connect(path)) {
    return fail(ErrorCode::already_exists, path.string() + " is in use by a running process");
  }
  ::unlink(path.c_str());
  TRY(auto fd, new_socket());
  if (::bind(fd.get(), as_sockaddr(address), sizeof address) != 0) return fail_errno("bind " + path.string(), errno);
  if (::chmod(path.c_str(), mode) != 0) return fail_errno("chmod " + path.string(), errno);
  if (::listen(fd.get(), 128) != 0) return fail_errno("listen on " + path.string(), errno);
  return SeqpacketListener(std::move(fd));
}

Result<SeqpacketSocket> SeqpacketListener::accept() {
  for (;;) {
    UniqueFd fd(::accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (fd) return SeqpacketSocket(std::move(fd));
    if (errno != EINTR && errno != ECONNABORTED) return fail_errno("accept", errno);
  }
}

}  // namespace hearth
