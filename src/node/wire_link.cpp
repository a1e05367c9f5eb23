#include "node/wire_link.hpp"

#include "wire/frame_writer.hpp"

#include <utility>

namespace hearth::node {

WireLink::WireLink(std::shared_ptr<net::ByteChannel> channel, const wire::Hello& mine, Handlers handlers)
    : channel_(std::move(channel)), mine_(mine), handlers_(std::move(handlers)), alive_(std::make_shared<bool>(true)) {
  std::string out;
  wire::append_hello(out, mine_);
  channel_->write(std::move(out));
  channel_->start({.on_data = [this](std::string_view bytes) { on_data(bytes); },
                   .on_close = [this](const Error& error) { fail_with(error); }});
}

WireLink::~WireLink() {
  *alive_ = false;
  channel_->close();
}

void WireLink::close() {
  channel_->close();
}

void WireLink::fail_with(const Error& error) {
  const std::shared_ptr<net::ByteChannel> channel = channel_;
  channel->close();
  if (handlers_.on_close) handlers_.on_close(error);
}

void WireLink::on_data(std::string_view bytes) {
  const std::shared_ptr<bool> alive = alive_;
  decoder_.feed(bytes);
  for (;;) {
    Result<std::optional<wire::Frame>> frame = decoder_.next();
    if (!frame) return fail_with(frame.error());
    if (!*frame) break;
    if (Result<> handled = on_any(**frame); !handled) {
      if (*alive) fail_with(handled.error());
      return;
    }
    if (!*alive || !channel_->is_open()) return;
  }
  if (handlers_.on_input_end) handlers_.on_input_end();
}

Result<> WireLink::on_any(const wire::Frame& frame) {
  if (!greeted_) {
    if (frame.type() != wire::FrameType::hello) {
      return fail(ErrorCode::corrupt, "the peer did not begin with HELLO");
    }
    TRY(const wire::Hello theirs, wire::parse_hello(frame.body));
    TRY(const uint32_t version, wire::agree_version(mine_, theirs));
    static_cast<void>(version);  // there is only one so far
    peer_frame_limit_ = static_cast<size_t>(theirs.frame_limit_bytes);
    greeted_ = true;
    return handlers_.on_hello(theirs);
  }
  if (frame.type() == wire::FrameType::ping) {
    std::string out;
    wire::append_pong(out, frame.seq());
    channel_->write(std::move(out));
    return {};
  }
  if (frame.type() != wire::FrameType::pong) handlers_.on_frame(frame);
  return {};
}

}  // namespace hearth::node
