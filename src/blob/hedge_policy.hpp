// Decides when a slow request is worth a second one. Pure: events and durations in, a decision out.
#pragma once

#include "base/clock.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace hearth::blob {

struct HedgeLimits {
  Duration delay_min = milliseconds(5);     // below this, noise is no straggler
  Duration delay_max = milliseconds(1000);  // … and above this everything is
  double share = 0.05;                      // second requests, as a share of first ones
  double saved_max = 4;                     // second requests that quiet times can save up
};

/// A request is a straggler when it takes longer than 95 % of recent ones of about its size. Second requests are paid
/// from a budget that first requests fill, so that a store that is slow as a whole is not asked twice for everything.
/// Not thread-safe.
class HedgePolicy {
 public:
  explicit HedgePolicy(const HedgeLimits& limits = {}) : limits_(limits), budget_(limits.saved_max) {}

  /// A first request was sent.
  void on_request();
  /// How long it took: of a first request that lost against its second, how long it had taken by then.
  void on_answer(uint64_t bytes, Duration took);

  /// How long a request of this size may take before a second one is sent; none until enough are known.
  std::optional<Duration> patience(uint64_t bytes) const;
  /// Called when that time is over. True: send it; the budget has paid.
  bool spend();

 private:
  static constexpr size_t kWindow = 64;  // recent answers of one size class
  static constexpr size_t kEnough = 16;  // so many make a percentile
  static constexpr size_t kClasses = 6;  // up to 64 KiB, 256 KiB, 1 MiB, 4 MiB, 16 MiB, longer
  struct Class {
    std::array<Duration, kWindow> took{};
    size_t count = 0;  // ever
  };
  static size_t class_of(uint64_t bytes);

  HedgeLimits limits_;
  double budget_;
  std::array<Class, kClasses> classes_{};
};

}  // namespace hearth::blob
