// Threads with small stacks, for many that mostly wait.
#pragma once

#include "base/result.hpp"

#include <pthread.h>

#include <functional>
#include <memory>
#include <vector>

namespace hearth::mount {

/// Not thread-safe. Joins in its destructor: whoever owns it sees to it that they end.
class WorkerThreads {
 public:
  /// Room for a TLS handshake and a name look-up.
  static constexpr size_t kStackBytes = size_t{512} << 10;

  WorkerThreads() = default;
  ~WorkerThreads() { join(); }
  WorkerThreads(const WorkerThreads&) = delete;
  WorkerThreads& operator=(const WorkerThreads&) = delete;

  void start(int count, const std::function<void()>& work);
  void join();
  size_t size() const { return threads_.size(); }

 private:
  std::vector<pthread_t> threads_;
};

}  // namespace hearth::mount
