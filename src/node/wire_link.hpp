// One connection that speaks the wire protocol: greets, agrees on a version, cuts frames, answers pings.
#pragma once

#include "base/result.hpp"
#include "net/byte_channel.hpp"
#include "net/event_loop.hpp"
#include "wire/frame.hpp"
#include "wire/frame_decoder.hpp"
#include "wire/hello.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace hearth::node {

/// Loop thread only. A callback may destroy the link.
class WireLink {
 public:
  struct Handlers {
    /// The peer's first frame; an error closes the link with that reason (on_close is called).
    std::function<Result<>(const wire::Hello&)> on_hello;
    /// Every later frame but PING and PONG. Valid until on_input_end returns.
    std::function<void(const wire::Frame&)> on_frame;
    /// All frames that arrived together have been given.
    std::function<void()> on_input_end;
    /// Once, unless close() was called.
    std::function<void(const Error&)> on_close;
  };

  /// Greets at once.
  WireLink(std::shared_ptr<net::ByteChannel> channel, const wire::Hello& mine, Handlers handlers);
  ~WireLink();
  WireLink(const WireLink&) = delete;
  WireLink& operator=(const WireLink&) = delete;

  void write(std::string frames) { channel_->write(std::move(frames)); }
  size_t pending_bytes() const { return channel_->pending_bytes(); }
  void close();
  bool greeted() const { return greeted_; }
  /// The largest frame the peer takes.
  size_t peer_frame_limit() const { return peer_frame_limit_; }
  net::ByteChannel& channel() { return *channel_; }

 private:
  void on_data(std::string_view bytes);
  Result<> on_any(const wire::Frame& frame);
  void fail_with(const Error& error);

  std::shared_ptr<net::ByteChannel> channel_;
  wire::Hello mine_;
  Handlers handlers_;
  wire::FrameDecoder decoder_;
  size_t peer_frame_limit_ = wire::max_frame_bytes;
  bool greeted_ = false;
  std::shared_ptr<bool> alive_;  // false once destroyed: a callback may do that
};

}  // namespace hearth::node
