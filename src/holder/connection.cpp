#include "holder/connection.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace hearth::holder {

const Exit& ExitHistory::add(Exit exit) {
  exit.sequence = ++last_;
  exits_.push_back(exit);
  if (exits_.size() > kExitsRemembered) exits_.pop_front();
  return exits_.back();
}

std::vector<Exit> ExitHistory::after(uint64_t after, size_t most) const {
  if (after >= last_) return {};
  const size_t wanted = std::min<uint64_t>(last_ - after, exits_.size());
  const auto begin = exits_.end() - static_cast<std::ptrdiff_t>(wanted);
  return {begin, begin + static_cast<std::ptrdiff_t>(std::min(wanted, most))};
}

void Connection::reply(const Reply& reply, UniqueFd fd) {
  outgoing_.push_back({encode(reply), std::move(fd)});
}

void Connection::on_exit(const Exit& exit) {
  const auto watched =
      std::ranges::find_if(watches_, [&exit](const Watched& watched) { return watched.child == exit.child; });
  if (watched == watches_.end()) return;
  reply({watched->id, Exits{{exit}}});
  watches_.erase(watched);
}

Result<> Connection::flush(const ExitHistory& history) {
  blocked_ = false;
  while (!outgoing_.empty() && !blocked_) {
    TRY_VOID(try_send(outgoing_.front().bytes, outgoing_.front().fd));
    if (!blocked_) outgoing_.pop_front();
  }
  while (following_ && following_->sent < history.last() && !blocked_) {
    const Exits exits{history.after(following_->sent, 512)};
    TRY_VOID(try_send(encode(Reply{following_->id, exits}), {}));
    if (!blocked_) following_->sent = exits.exits.back().sequence;
  }
  return {};
}

void Connection::discard_requests() {
  ::shutdown(socket_.fd(), SHUT_RD);  // nothing more arrives
  char byte;
  while (::recv(socket_.fd(), &byte, sizeof byte, MSG_DONTWAIT) > 0) {
  }
}

Result<> Connection::try_send(const std::string& bytes, const UniqueFd& fd) {
  iovec part{const_cast<char*>(bytes.data()), bytes.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  if (fd) {
    const int raw = fd.get();
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof raw);
    std::memcpy(CMSG_DATA(rights), &raw, sizeof raw);
  }
  ssize_t sent = -1;
  do {
    sent = ::sendmsg(socket_.fd(), &header, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK) return fail_errno("send", errno);
  blocked_ = sent < 0;
  return {};
}

}  // namespace hearth::holder
