// Encoders: each appends one whole frame to a byte string (a connection's output buffer). No allocation beyond the
// string's own growth; payloads are copied exactly once, from where they lie into the output. Not thread-safe.
#pragma once

#include "wire/protocol.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::wire {

enum class Added {
  yes,
  full,  // nothing was added: the frame has no room; write it and add again. A single entry that is `full` in an
         // empty writer is larger than the frame limit and can never be sent.
};

/// Collects entries of one frame, then writes it. Payload views have to stay valid until write().
class RequestBatchWriter {
 public:
  explicit RequestBatchWriter(size_t frame_limit_bytes = kMaxFrameBytes) : limit_(frame_limit_bytes) {}

  /// payload_len is taken from `payload`.
  Added add(const RequestEntry& entry, std::string_view payload);
  /// Appends the frame and starts over; appends nothing when empty. `ack_seq`: results received so far, cumulative.
  void write(std::string& out, uint64_t ack_seq);

  bool empty() const { return payloads_.empty(); }
  size_t count() const { return payloads_.size(); }

 private:
  size_t limit_;
  std::string entries_;
  std::vector<std::string_view> payloads_;
  size_t payload_bytes_ = 0;
};

/// The payloads of a result. Views have to stay valid until write().
struct ResultPayload {
  std::string_view value;
  std::string_view stdout_text;
  std::string_view stderr_text;

  size_t size() const { return value.size() + stdout_text.size() + stderr_text.size(); }
};

class ResultBatchWriter {
 public:
  explicit ResultBatchWriter(size_t frame_limit_bytes = kMaxFrameBytes) : limit_(frame_limit_bytes) {}

  /// The three lengths are taken from `payload`.
  Added add(const ResultEntry& entry, const ResultPayload& payload);
  /// Appends the frame and starts over; appends nothing when empty. `first_seq` numbers the first entry, the others
  /// follow without a gap.
  void write(std::string& out, uint64_t first_seq);

  bool empty() const { return payloads_.empty(); }
  size_t count() const { return payloads_.size(); }

 private:
  size_t limit_;
  std::string entries_;
  std::vector<ResultPayload> payloads_;
  size_t payload_bytes_ = 0;
};

/// A frame without entries: ACK, PING, PONG.
void append_empty(std::string& out, FrameType type, uint64_t seq);
inline void append_ack(std::string& out, uint64_t seq) {
  append_empty(out, FrameType::ack, seq);
}
inline void append_ping(std::string& out, uint64_t seq) {
  append_empty(out, FrameType::ping, seq);
}
inline void append_pong(std::string& out, uint64_t seq) {
  append_empty(out, FrameType::pong, seq);
}

/// A frame whose body is one JSON text: HELLO (prefer append_hello), EVENT, OPEN, GOODBYE.
void append_json(std::string& out, FrameType type, uint64_t seq, std::string_view json);
inline void append_event(std::string& out, std::string_view json) {
  append_json(out, FrameType::event, 0, json);
}
inline void append_goodbye(std::string& out, std::string_view json) {
  append_json(out, FrameType::goodbye, 0, json);
}
inline void append_open(std::string& out, uint32_t target, std::string_view json) {
  append_json(out, FrameType::open, target, json);
}

/// At most kMaxEntries in one call of each of these.
void append_credits(std::string& out, const std::vector<CreditEntry>& credits);
void append_cancel(std::string& out, const std::vector<uint64_t>& ids);
/// `seq`: the last result sequence number processed from this peer process, 0 for none.
void append_attach(std::string& out, uint64_t seq, const std::vector<uint64_t>& ids);
void append_progress(std::string& out, uint64_t id, std::string_view json);

/// The 16 bytes of a header; the writers use it, and tests that need a broken one.
void append_header(std::string& out, const FrameHeader& header);

}  // namespace hearth::wire
