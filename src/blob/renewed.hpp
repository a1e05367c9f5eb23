// A value that expires and is fetched again in time: keys and tokens of remote stores.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"

#include <algorithm>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>

namespace hearth::blob {

/// Thread-safe. Fetched by one thread at a time: others use the value that is still good, or wait for that fetch. A
/// fetch that fails costs nothing while the old value is good; else all who wait get its error.
template <class T>
class Renewed {
 public:
  struct Fetched {
    T value;
    std::optional<WallTime> expires;  // none: when it is refused
  };
  using Fetch = std::function<Result<Fetched>()>;
  using Now = std::function<WallTime()>;

  explicit Renewed(Fetch fetch, Now now = wall_now) : fetch_(std::move(fetch)), now_(std::move(now)) {}

  Result<std::shared_ptr<const T>> get() {
    std::unique_lock lock(mutex_);
    for (;;) {
      const WallTime now = now_();
      if (value_ && now < renew_at_) return value_;
      if (!fetching_) return fetch(lock, now);
      if (value_ && now < expires_) return value_;
      const uint64_t round = round_;
      fetched_.wait(lock, [this, round] { return round_ != round; });
      if (!value_) return fail(error_.code, error_.message);
    }
  }

  /// The store refused this value: if it is still the current one, the next get() fetches another.
  void drop(const std::shared_ptr<const T>& refused) {
    const std::lock_guard lock(mutex_);
    if (value_ == refused) value_.reset();
  }

 private:
  static constexpr std::chrono::seconds kAhead{300};       // how long before its end it is renewed, …
  static constexpr int kShareOfLife = 4;                   // … or this part of its life, if that is shorter
  static constexpr std::chrono::seconds kNotAgainFor{10};  // after a failed renewal

  /// Called and left locked.
  Result<std::shared_ptr<const T>> fetch(std::unique_lock<std::mutex>& lock, WallTime now) {
    fetching_ = true;
    lock.unlock();
    Result<Fetched> fetched = fetch_();
    lock.lock();
    fetching_ = false;
    ++round_;
    fetched_.notify_all();
    if (fetched) {
      expires_ = fetched->expires.value_or(WallTime::max());
      renew_at_ = fetched->expires ? *fetched->expires -
                                         std::min<WallTime::duration>(kAhead, (*fetched->expires - now) / kShareOfLife)
                                   : WallTime::max();
      value_ = std::make_shared<const T>(std::move(fetched->value));
      return value_;
    }
    if (value_ && now < expires_) {
      renew_at_ = now + kNotAgainFor;
      return value_;
    }
    value_.reset();
    error_ = fetched.error();
    return Unexpected(std::move(fetched).error());
  }

  const Fetch fetch_;
  const Now now_;
  std::mutex mutex_;
  std::condition_variable fetched_;
  std::shared_ptr<const T> value_;
  WallTime renew_at_{};
  WallTime expires_{};
  Error error_;
  uint64_t round_ = 0;
  bool fetching_ = false;
};

}  // namespace hearth::blob
