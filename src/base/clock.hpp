// Time as types. Pure code is handed a MonoTime; only shells read clocks.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace hearth {

using MonoTime = std::chrono::steady_clock::time_point;
using WallTime = std::chrono::system_clock::time_point;
using Duration = std::chrono::steady_clock::duration;  // nanoseconds
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

inline MonoTime mono_now() {
  return std::chrono::steady_clock::now();
}
inline WallTime wall_now() {
  return std::chrono::system_clock::now();
}

/// A point in time after which nobody waits for the answer; none means "for ever". Travels with the request.
class Deadline {
 public:
  Deadline() = default;
  explicit Deadline(MonoTime at) : at_(at) {}
  static Deadline after(MonoTime now, Duration duration) { return Deadline(now + duration); }

  bool passed(MonoTime now) const { return at_ && now >= *at_; }
  std::optional<MonoTime> at() const { return at_; }
  /// Time left, never negative; nullopt without a deadline.
  std::optional<Duration> left(MonoTime now) const {
    if (!at_) return std::nullopt;
    return *at_ > now ? *at_ - now : Duration::zero();
  }

 private:
  std::optional<MonoTime> at_;
};

/// "2026-11-22T13:04:05.123456Z"
std::string to_iso8601(WallTime time);
/// The same back, with zero to nine digits of a second; nullopt for anything else.
std::optional<WallTime> from_iso8601(std::string_view text);

inline int64_t to_unix_us(WallTime time) {
  return std::chrono::duration_cast<microseconds>(time.time_since_epoch()).count();
}

}  // namespace hearth
