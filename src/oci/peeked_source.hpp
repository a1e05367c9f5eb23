// Input of a decompressor: bytes of a source, which can be looked at before they are taken and put back afterwards.
#pragma once

#include "base/result.hpp"
#include "oci/byte_source.hpp"

#include <cstddef>
#include <string>
#include <string_view>

namespace hearth::oci {

class PeekedSource {
 public:
  static constexpr size_t kMaxPutBack = 16;

  explicit PeekedSource(ByteSource& source) : source_(source), buffer_(kMaxPutBack + kInputBytes, '\0') {}

  /// Makes at least one byte visible unless the source has ended.
  Result<bool> fill() {
    if (begin_ < end_) return true;
    TRY(const size_t got, source_.read(buffer_.data() + kMaxPutBack, kInputBytes));
    begin_ = kMaxPutBack;
    end_ = begin_ + got;
    return got > 0;
  }
  /// Makes `count` bytes visible if there are so many; only before anything was consumed.
  Result<std::string_view> peek(size_t count) {
    TRY(const size_t got, read_fully(source_, buffer_.data() + end_, count - (end_ - begin_)));
    end_ += got;
    return visible();
  }
  std::string_view visible() const { return std::string_view(buffer_).substr(begin_, end_ - begin_); }
  void consume(size_t count) { begin_ += count; }
  /// The bytes, at most kMaxPutBack since the last fill(), come next again.
  void put_back(std::string_view bytes) {
    CHECK_PROMISE(bytes.size() <= begin_);
    begin_ -= bytes.size();
    buffer_.replace(begin_, bytes.size(), bytes);
  }

 private:
  static constexpr size_t kInputBytes = 128 * 1024;

  ByteSource& source_;
  std::string buffer_;
  size_t begin_ = kMaxPutBack;
  size_t end_ = kMaxPutBack;
};

}  // namespace hearth::oci
