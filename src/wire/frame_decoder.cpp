#include "wire/frame_decoder.hpp"

#include "base/little_endian.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace hearth::wire {
namespace {

constexpr size_t kKeepBytes = size_t{1} << 20;  // an empty buffer larger than this is given back

Unexpected corrupt(const Frame& frame, std::string_view what) {
  return fail(ErrorCode::corrupt, "wire: " + std::string(to_string(frame.type())) + " frame of " +
                                      std::to_string(frame.header.count) + " entries and " +
                                      std::to_string(frame.body.size()) + " bytes: " + std::string(what));
}

/// Offsets, inside one entry, of the lengths of its payloads.
struct EntryShape {
  size_t entry_bytes;
  std::array<size_t, 3> length_offsets;
  size_t lengths;
};

Result<> check_entries(const Frame& frame, const EntryShape& shape) {
  const size_t entries = frame.header.count * shape.entry_bytes;
  if (entries > frame.body.size()) return corrupt(frame, "the entries do not fit");
  uint64_t payloads = 0;
  for (size_t at = 0; at < entries; at += shape.entry_bytes) {
    for (size_t i = 0; i < shape.lengths; ++i) payloads += load_le<uint32_t>(frame.body, at + shape.length_offsets[i]);
  }
  if (payloads != frame.body.size() - entries) return corrupt(frame, "the payload lengths do not add up");
  return {};
}

Result<> check_enum(const Frame& frame, size_t entry_bytes, size_t offset, uint8_t last) {
  for (size_t i = 0; i < frame.header.count; ++i) {
    if (load_le<uint8_t>(frame.body, i * entry_bytes + offset) > last) return corrupt(frame, "unknown kind or status");
  }
  return {};
}

Result<> check_requests(const Frame& frame) {
  TRY_VOID(check_entries(frame, {RequestEntry::kWireBytes, {12}, 1}));
  return check_enum(frame, RequestEntry::kWireBytes, 20, static_cast<uint8_t>(RequestKind::call));
}

Result<> check_results(const Frame& frame) {
  TRY_VOID(check_entries(frame, {ResultEntry::kWireBytes, {12, 16, 20}, 3}));
  if (frame.header.count > 0 && frame.header.seq == 0) return corrupt(frame, "result sequence numbers start at 1");
  return check_enum(frame, ResultEntry::kWireBytes, 8, kStatusLast);
}

bool is_known(FrameType type) {
  return type >= FrameType::hello && type <= FrameType::goodbye;
}

}  // namespace

Result<> check_frame(const Frame& frame) {
  switch (frame.type()) {
    case FrameType::requests:
      return check_requests(frame);
    case FrameType::results:
      return check_results(frame);
    case FrameType::credits:
      return check_entries(frame, {CreditEntry::kWireBytes, {}, 0});
    case FrameType::cancel:
    case FrameType::attach:
      return check_entries(frame, {IdEntry::kWireBytes, {}, 0});
    case FrameType::progress:
      return check_entries(frame, {ProgressEntry::kWireBytes, {8}, 1});
    case FrameType::ack:
    case FrameType::ping:
    case FrameType::pong:
      if (frame.header.count != 0 || !frame.body.empty()) return corrupt(frame, "must be empty");
      return {};
    case FrameType::hello:
    case FrameType::event:
    case FrameType::open:
    case FrameType::goodbye:
      if (frame.header.count != 0) return corrupt(frame, "has no entries");
      return {};
  }
  return fail(ErrorCode::corrupt, "wire: frame of unknown type " + std::to_string(static_cast<int>(frame.type())));
}

std::span<char> FrameDecoder::prepare(size_t at_least) {
  if (begin_ == end_) {
    begin_ = end_ = 0;
    if (buffer_.size() > kKeepBytes && at_least <= kKeepBytes) buffer_ = std::string();
  }
  if (buffer_.size() - end_ < at_least && begin_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  if (buffer_.size() - end_ < at_least) buffer_.resize(std::max(end_ + at_least, buffer_.size() * 2));
  return {buffer_.data() + end_, buffer_.size() - end_};
}

void FrameDecoder::commit(size_t bytes) {
  CHECK_PROMISE(bytes <= buffer_.size() - end_);
  end_ += bytes;
}

void FrameDecoder::feed(std::string_view bytes) {
  if (bytes.empty()) return;
  std::memcpy(prepare(bytes.size()).data(), bytes.data(), bytes.size());
  commit(bytes.size());
}

Result<std::optional<Frame>> FrameDecoder::next() {
  while (true) {
    TRY(std::optional<Frame> frame, next_any());
    if (!frame) return std::optional<Frame>();
    if (!is_known(frame->type()) && (frame->header.flags & kFlagIgnorable) != 0) continue;
    TRY_VOID(check_frame(*frame));
    return frame;
  }
}

Result<std::optional<Frame>> FrameDecoder::next_any() {
  const std::string_view arrived(buffer_.data() + begin_, end_ - begin_);
  if (arrived.size() < kHeaderBytes) return std::optional<Frame>();
  Frame frame;
  frame.header = {.length = load_le<uint32_t>(arrived, 0),
                  .type = FrameType{load_le<uint8_t>(arrived, 4)},
                  .flags = load_le<uint8_t>(arrived, 5),
                  .count = load_le<uint16_t>(arrived, 6),
                  .seq = load_le<uint64_t>(arrived, 8)};
  if (frame.header.length > limit_) {
    return fail(ErrorCode::corrupt, "wire: a frame of " + std::to_string(frame.header.length) +
                                        " bytes exceeds the limit of " + std::to_string(limit_));
  }
  if (arrived.size() - kHeaderBytes < frame.header.length) return std::optional<Frame>();
  frame.body = arrived.substr(kHeaderBytes, frame.header.length);
  begin_ += kHeaderBytes + frame.header.length;
  return std::optional<Frame>(frame);
}

}  // namespace hearth::wire
