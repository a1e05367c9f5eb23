// A simulated schedule, for tests: actors on threads of their own, of which one runs at a time, from one call to the
// store to the next. Which one, how much time passes, and who dies, is drawn from a seed.
#pragma once

#include "base/result.hpp"
#include "blob/keeping.hpp"
#include "blob/simulated_store.hpp"

#include <algorithm>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace hearth::image {

class SimulatedSchedule {
 public:
  SimulatedSchedule(std::shared_ptr<blob::SimulatedStore> store, uint32_t seed)
      : store_(std::move(store)), random_(seed) {
    store_->before = [this](const blob::SimulatedStore::Event&) { return step(Duration::zero()); };
  }
  SimulatedSchedule(const SimulatedSchedule&) = delete;
  SimulatedSchedule& operator=(const SimulatedSchedule&) = delete;
  ~SimulatedSchedule() { store_->before = nullptr; }

  /// To be called before run(). The actor ends with its function.
  void add(std::function<void()> act) { acts_.push_back(std::move(act)); }
  /// Lets the actors run until all have ended.
  void run() {
    std::vector<std::jthread> threads;
    actors_.resize(acts_.size());
    for (size_t i = 0; i < acts_.size(); ++i) {
      actors_[i].skew = std::chrono::minutes(std::uniform_int_distribution(-kSkewMax, kSkewMax)(random_));
      threads.emplace_back([this, i] {
        self_ = i;
        (void)step(Duration::zero());
        acts_[i]();
        const std::lock_guard lock(mutex_);
        actors_[i].state = State::ended;
        changed_.notify_all();
      });
    }
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return std::ranges::none_of(actors_, is_running); });
      if (!grant_one()) return;
      changed_.notify_all();
    }
  }

  /// Time as the calling actor sees it: clocks differ by minutes.
  blob::Timekeeper time() {
    return {.wall = [this] { return wall(); },
            .mono = [this] { return MonoTime(now_); },
            .pause = [this](Duration duration) { sleep(duration); }};
  }
  /// The calling actor does nothing for so long.
  void sleep(Duration duration) { (void)step(duration); }
  /// From now on every call of the calling actor fails, as if its machine had been switched off.
  void die() { actors_[self_].dead = true; }
  bool dead() const { return actors_[self_].dead; }
  /// Between all actors' calls alone: no lock needed.
  void pass(Duration duration) { now_ += duration; }

  uint32_t below(uint32_t limit) { return std::uniform_int_distribution<uint32_t>(0, limit - 1)(random_); }
  bool chance(uint32_t of_hundred) { return below(100) < of_hundred; }

 private:
  WallTime wall() const {
    const Duration skew = self_ < actors_.size() ? actors_[self_].skew : Duration::zero();
    return WallTime(std::chrono::duration_cast<WallTime::duration>(kStart + now_ + skew));
  }

  enum class State { running, waiting, ended };
  struct Actor {
    State state = State::running;
    Duration since{};  // when it began to wait
    Duration until{};  // it does not go on before; of a call: since
    Duration skew{};   // of its clock
    bool dead = false;
    bool in_call() const { return state == State::waiting && until == since; }
  };
  static constexpr int kSkewMax = 4;                  // minutes, either way
  static constexpr std::chrono::minutes kCallMax{4};  // from its decision until a call has taken effect
  static constexpr std::chrono::hours kStart{500'000};
  static bool is_running(const Actor& actor) { return actor.state == State::running; }

  /// A call waits for its turn, a sleeper for its time.
  Result<> step(Duration sleep) {
    if (self_ >= actors_.size()) return {};  // the test itself
    std::unique_lock lock(mutex_);
    Actor& actor = actors_[self_];
    if (!actor.dead) {
      actor.since = now_;
      actor.until = now_ + sleep;
      actor.state = State::waiting;
      changed_.notify_all();
      changed_.wait(lock, [&actor] { return actor.state == State::running; });
    }
    if (actor.dead) return fail(ErrorCode::unavailable, "simulated: this machine is off");
    return {};
  }

  /// How long a call takes: mostly a moment, sometimes a minute.
  Duration draw_time() {
    const uint32_t kind = below(100);
    if (kind < 90) return milliseconds(below(1000));
    if (kind < 99) return seconds(below(20));
    return seconds(below(240));
  }

  /// Lets one actor go on; false when none is left.
  bool grant_one() {
    std::vector<Actor*> waiting;
    for (Actor& actor : actors_) {
      if (actor.state == State::waiting) waiting.push_back(&actor);
    }
    if (waiting.empty()) return false;
    const Duration soonest = (*std::ranges::min_element(waiting, {}, &Actor::until))->until;
    now_ = std::max(now_, soonest);
    std::erase_if(waiting, [this](const Actor* actor) { return actor->until > now_; });
    Actor* chosen = waiting[below(static_cast<uint32_t>(waiting.size()))];
    Duration time = draw_time();
    for (Actor* actor : waiting) {
      if (!actor->in_call()) continue;
      const Duration left = std::max<Duration>(actor->since + kCallMax - now_, Duration::zero());
      if (left < time) {
        time = left;
        chosen = actor;
      }
    }
    now_ += time;
    chosen->state = State::running;
    return true;
  }

  std::shared_ptr<blob::SimulatedStore> store_;
  std::mt19937 random_;
  std::vector<std::function<void()>> acts_;
  std::vector<Actor> actors_;
  std::mutex mutex_;
  std::condition_variable changed_;
  Duration now_{};
  static inline thread_local size_t self_ = SIZE_MAX;
};

}  // namespace hearth::image
