// Runs a blocking function over a list with a few threads, for work that waits for the object store.
#pragma once

#include "base/result.hpp"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace hearth::image {

/// Calls `work(i)` for 0 … count-1, in no particular order; with one thread, in order and on this one. After the first
/// error no more are begun, and it is the answer.
template <class Work>
Result<> in_parallel(size_t count, unsigned threads, const Work& work) {
  std::atomic<size_t> next = 0;
  std::mutex mutex;
  std::optional<Error> error;
  const auto run = [&] {
    for (size_t i = next++; i < count; i = next++) {
      Result<> done = work(i);
      if (done) continue;
      const std::lock_guard lock(mutex);
      if (!error) error = std::move(done).error();
      next = count;
    }
  };
  {
    std::vector<std::jthread> others;
    for (size_t i = 1; i < std::min<size_t>(threads, count); ++i) others.emplace_back(run);
    run();
  }
  if (error) return Unexpected(std::move(*error));
  return {};
}

}  // namespace hearth::image
