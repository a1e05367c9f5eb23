// A few threads for work that blocks (files, hashing, HTTP to the store), so that it never runs on an event loop.
#pragma once

#include "net/event_loop.hpp"
#include "net/task.hpp"

#include <cstddef>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace hearth::net {

/// Belongs to one loop. Destroy it after the loop's run() has returned: the destructor finishes what is queued.
class BlockingPool {
 public:
  BlockingPool(EventLoop& loop, size_t threads);
  ~BlockingPool();
  BlockingPool(const BlockingPool&) = delete;
  BlockingPool& operator=(const BlockingPool&) = delete;

  /// Runs `function()` on a thread of the pool, resumes the caller on the loop with its result:
  /// `Result<std::string> bytes = co_await pool.run(std::move(read_it));`
  /// Once started it is never interrupted; give blocking calls their own time-outs.
  template <class Function>
  Task<std::invoke_result_t<Function&>> run(Function function) {
    using Value = std::invoke_result_t<Function&>;
    if constexpr (std::is_void_v<Value>) {
      Job job = [&function] { function(); };
      co_await run_job(std::move(job));
    } else {
      std::optional<Value> value;
      Job job = [&function, &value] { value.emplace(function()); };
      co_await run_job(std::move(job));
      co_return std::move(*value);
    }
  }

  /// The same without a coroutine: `work()` in the pool, then `done(its result)` on the loop. Thread-safe.
  template <class Work, class Done>
  void run_then(Work work, Done done) {
    using Value = std::invoke_result_t<Work&>;
    submit([this, work = std::move(work), done = std::move(done)]() mutable {
      if constexpr (std::is_void_v<Value>) {
        work();
        loop_.post(std::move(done));
      } else {
        loop_.post([value = work(), done = std::move(done)]() mutable { done(std::move(value)); });
      }
    });
  }

  /// Runs the job on a thread of the pool; nobody is told. Thread-safe.
  void submit(Job job);

 private:
  struct State;
  Task<> run_job(Job job);

  EventLoop& loop_;
  std::unique_ptr<State> state_;
};

}  // namespace hearth::net
