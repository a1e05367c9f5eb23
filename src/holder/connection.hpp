// One client of the holder: what it asked for, what it is still to be told. Never blocks.
#pragma once

#include "base/seqpacket.hpp"
#include "holder/message.hpp"

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

namespace hearth::holder {

/// The last ends of children, numbered from 1.
class ExitHistory {
 public:
  const Exit& add(Exit exit);
  /// Those numbered above `after`, oldest first, at most `most`.
  std::vector<Exit> after(uint64_t after, size_t most = kExitsRemembered) const;
  uint64_t last() const { return last_; }

 private:
  std::deque<Exit> exits_;
  uint64_t last_ = 0;
};

class Connection {
 public:
  explicit Connection(SeqpacketSocket socket) : socket_(std::move(socket)) {}

  int fd() const { return socket_.fd(); }
  /// Only when the socket is readable.
  Result<> receive(SeqpacketMessage& message) { return socket_.receive_into(message); }

  /// Sent now or when the client reads again; `fd` is sent along.
  void reply(const Reply& reply, UniqueFd fd = {});
  void follow(uint32_t id, uint64_t after) { following_ = Following{id, after}; }
  void watch(uint32_t id, const Child& child) { watches_.push_back({id, child}); }
  void on_exit(const Exit& exit);

  /// Sends what it can; error when the client is gone.
  Result<> flush(const ExitHistory& history);
  /// Sends this if it can be sent now, else blocked() is true and nothing is kept. Only when flush() left nothing
  /// behind.
  Result<> push(const Reply& reply) { return try_send(encode(reply), {}); }
  /// Takes no more requests, and drops what has arrived: closing over unread ones would lose the replies already sent.
  void discard_requests();
  /// The client has not read what was sent: wait until it can be written to.
  bool blocked() const { return blocked_; }
  /// It has replies to come: take no more requests from it. Who is only slow to take what is pushed is still listened
  /// to, or the two would wait for each other.
  bool owes_replies() const { return !outgoing_.empty(); }

 private:
  struct Outgoing {
    std::string bytes;
    UniqueFd fd;
  };
  struct Following {
    uint32_t id;
    uint64_t sent;  // sequence of the last end pushed
  };
  struct Watched {
    uint32_t id;
    Child child;
  };

  Result<> try_send(const std::string& bytes, const UniqueFd& fd);

  SeqpacketSocket socket_;
  std::deque<Outgoing> outgoing_;  // bounded: one reply a request, one push a watch
  std::optional<Following> following_;
  std::vector<Watched> watches_;
  bool blocked_ = false;
};

}  // namespace hearth::holder
