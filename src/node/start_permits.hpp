// How many starts this machine sustains at once; further ones wait in order.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <utility>

namespace hearth::node {

/// Loop thread only.
class StartPermits {
  struct State;

 public:
  explicit StartPermits(uint32_t permits) : state_(std::make_shared<State>()) { state_->free = permits; }

  /// Gives its permit back when destroyed. May outlive the StartPermits.
  class Permit {
   public:
    Permit() = default;
    explicit Permit(std::weak_ptr<State> state) : state_(std::move(state)) {}
    Permit(Permit&& other) noexcept : state_(std::exchange(other.state_, {})) {}
    Permit& operator=(Permit&& other) noexcept {
      release();
      state_ = std::exchange(other.state_, {});
      return *this;
    }
    ~Permit() { release(); }
    void release() {
      if (const std::shared_ptr<State> state = std::exchange(state_, {}).lock()) give_back(state);
    }

   private:
    std::weak_ptr<State> state_;
  };

  /// Calls `granted` now or when a permit is free.
  void acquire(std::function<void(Permit)> granted) {
    if (state_->free == 0) {
      state_->waiting.push_back(std::move(granted));
      return;
    }
    --state_->free;
    granted(Permit(state_));
  }
  size_t waiting() const { return state_->waiting.size(); }

 private:
  struct State {
    uint32_t free = 0;
    std::deque<std::function<void(Permit)>> waiting;
  };

  static void give_back(const std::shared_ptr<State>& state) {
    if (state->waiting.empty()) {
      ++state->free;
      return;
    }
    const std::function<void(Permit)> next = std::move(state->waiting.front());
    state->waiting.pop_front();
    next(Permit(state));
  }

  std::shared_ptr<State> state_;
};

}  // namespace hearth::node
