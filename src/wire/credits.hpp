// How many requests may be outstanding towards one peer (or one target of it). Pure state; not thread-safe.
#pragma once

#include <algorithm>
#include <cstdint>

namespace hearth::wire {

/// The limit is absolute and comes with CREDITS; it may fall below what is outstanding, then nothing is sent until
/// enough results have come back.
class Credits {
 public:
  explicit Credits(uint32_t limit = 0) : limit_(limit) {}

  void set_limit(uint32_t limit) { limit_ = limit; }
  uint32_t limit() const { return limit_; }
  uint32_t outstanding() const { return outstanding_; }
  uint32_t available() const { return limit_ > outstanding_ ? limit_ - outstanding_ : 0; }

  /// The caller has checked available(); one request was sent (or attached to).
  void take(uint32_t requests = 1) { outstanding_ += requests; }
  /// Results have come back.
  void give_back(uint32_t requests = 1) { outstanding_ -= std::min(outstanding_, requests); }

 private:
  uint32_t limit_ = 0;
  uint32_t outstanding_ = 0;
};

}  // namespace hearth::wire
