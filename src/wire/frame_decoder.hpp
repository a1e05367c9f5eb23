// Cuts a byte stream into checked frames. No sockets, no clock; not thread-safe; one decoder a connection.
#pragma once

#include "base/result.hpp"
#include "wire/frame.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace hearth::wire {

/// Use: read(2) into prepare(), commit() what arrived, then next() until it yields nothing.
/// Memory is bounded by the frame limit and grows with what has really arrived, not with what a header claims.
class FrameDecoder {
 public:
  explicit FrameDecoder(size_t frame_limit_bytes = kMaxFrameBytes) : limit_(frame_limit_bytes) {}

  /// Room for at least `at_least` more bytes. Frames handed out before are invalid from here on.
  std::span<char> prepare(size_t at_least = size_t{64} << 10);
  /// The first `bytes` of the last prepare() are filled.
  void commit(size_t bytes);
  /// prepare, copy, commit: for tests and for bytes that already lie elsewhere.
  void feed(std::string_view bytes);

  /// The next whole frame; nothing when more bytes are needed. Frames of unknown type that carry kFlagIgnorable are
  /// skipped. Errors (corrupt: length over the limit, entries or payloads that do not fit, unknown type or status)
  /// are final: the connection has to be closed.
  Result<std::optional<Frame>> next();

  /// Lowered or raised by what HELLO agreed; applies from the next frame on.
  void set_frame_limit(size_t bytes) { limit_ = bytes; }
  /// Bytes received that no frame has consumed yet: not 0 at the end of a stream means it was cut inside a frame.
  size_t pending_bytes() const { return end_ - begin_; }

 private:
  Result<std::optional<Frame>> next_any();

  size_t limit_;
  std::string buffer_;
  size_t begin_ = 0;  // first byte not yet consumed
  size_t end_ = 0;    // end of what has arrived
};

/// What FrameDecoder checks of one frame: entries fit, payload lengths add up, enums known. Error: corrupt.
Result<> check_frame(const Frame& frame);

}  // namespace hearth::wire
