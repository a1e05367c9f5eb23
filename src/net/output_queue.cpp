#include "net/output_queue.hpp"

#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <utility>

namespace hearth::net {

namespace {
constexpr size_t kPieceTarget = 64 * 1024;  // pieces grow up to this by copying
constexpr size_t kCopyMax = 16 * 1024;      // larger ones are moved, not copied
constexpr size_t kSpareMax = 64 * 1024;
constexpr size_t kIovecs = 64;
}  // namespace

void OutputQueue::push(std::string bytes) {
  if (bytes.empty()) return;
  if (bytes.size() <= kCopyMax) {
    tail().append(bytes);
  } else {
    pieces_.push_back(std::move(bytes));
  }
}

std::string& OutputQueue::tail() {
  if (pieces_.empty() || pieces_.back().size() >= kPieceTarget) {
    pieces_.push_back(std::exchange(spare_, {}));
    pieces_.back().clear();
  }
  return pieces_.back();
}

OutputQueue::Sent OutputQueue::send_to(int fd) {
  while (!pieces_.empty()) {
    std::array<iovec, kIovecs> vectors;
    size_t count = 0;
    size_t bytes = 0;
    for (std::string& piece : pieces_) {
      if (count == kIovecs) break;
      size_t skip = count == 0 ? offset_ : 0;
      vectors[count++] = {.iov_base = piece.data() + skip, .iov_len = piece.size() - skip};
      bytes += piece.size() - skip;
    }
    ssize_t sent = 0;
    if (count == 1) {
      sent = ::send(fd, vectors[0].iov_base, vectors[0].iov_len, MSG_NOSIGNAL | MSG_DONTWAIT);
    } else {
      msghdr message{};
      message.msg_iov = vectors.data();
      message.msg_iovlen = count;
      sent = ::sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    if (sent < 0) {
      if (errno == EINTR) continue;
      return errno == EAGAIN || errno == EWOULDBLOCK ? Sent::some : Sent::broken;
    }
    drop_front(static_cast<size_t>(sent));
    if (static_cast<size_t>(sent) < bytes) return Sent::some;
  }
  return Sent::all;
}

void OutputQueue::drop_front(size_t bytes) {
  while (!pieces_.empty() && bytes >= pieces_.front().size() - offset_) {
    bytes -= pieces_.front().size() - offset_;
    offset_ = 0;
    if (spare_.capacity() < pieces_.front().capacity() && pieces_.front().capacity() <= kSpareMax)
      spare_ = std::move(pieces_.front());
    pieces_.pop_front();
  }
  offset_ += bytes;
}

size_t OutputQueue::size() const {
  size_t total = 0;
  for (const std::string& piece : pieces_) total += piece.size();
  return total - offset_;
}

void OutputQueue::clear() {
  pieces_.clear();
  offset_ = 0;
}

}  // namespace hearth::net
