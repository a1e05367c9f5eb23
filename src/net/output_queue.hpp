// Private to net: bytes on their way to a socket, sent many pieces in one system call.
#pragma once

#include <cstddef>
#include <deque>
#include <string>
#include <string_view>

namespace hearth::net {

class OutputQueue {
 public:
  /// Small pieces are copied together, large ones are kept as they are.
  void push(std::string bytes);
  /// For building a message in place: append to the returned string, which holds what is queued last.
  std::string& tail();

  enum class Sent { all, some, broken };
  /// Sends as much as the socket takes now. `broken` leaves the reason in errno.
  Sent send_to(int fd);

  size_t size() const;
  bool empty() const { return pieces_.empty(); }
  void clear();

 private:
  void drop_front(size_t bytes);

  std::deque<std::string> pieces_;  // none is empty, but the last may be while it is built
  std::string spare_;               // keeps its memory between messages
  size_t offset_ = 0;               // of the first piece: already sent
};

}  // namespace hearth::net
