// A few threads that serve all FUSE mounts of a process.
#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "mount/fuse_session.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

namespace hearth::mount {

/// Thread-safe. Any number of sessions: a request of any of them wakes a thread.
class FuseLoop {
 public:
  /// Called once for each session that nobody has mounted any more, in one of the threads.
  using OnGone = std::function<void(const FuseSession&)>;

  static Result<std::unique_ptr<FuseLoop>> start(OnGone on_gone);
  /// Requests that were not received stay in the kernel, for the next imagefs.
  ~FuseLoop();
  FuseLoop(const FuseLoop&) = delete;
  FuseLoop& operator=(const FuseLoop&) = delete;

  Result<> add(const std::shared_ptr<FuseSession>& session);
  /// Waits for the threads.
  void stop();

 private:
  FuseLoop() = default;
  void run();
  void serve(uint64_t id, FuseBuffer& buffer);

  UniqueFd epoll_;
  UniqueFd stop_;  // readable: stop
  OnGone on_gone_;
  std::mutex mutex_;
  uint64_t next_id_ = 1;
  std::unordered_map<uint64_t, std::shared_ptr<FuseSession>> sessions_;
  std::vector<std::thread> threads_;
};

}  // namespace hearth::mount
