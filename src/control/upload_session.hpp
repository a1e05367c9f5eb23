// What a client uploads stays in the store until it is used: an intent (blob/intent.hpp) for each client that deploys
// or imports, from before it asks what is missing until a node has used it.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"
#include "blob/intent.hpp"
#include "blob/object_store.hpp"

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

namespace hearth::control {

/// How long a session stands that nobody asks for: its client is gone.
inline constexpr std::chrono::minutes kUploadSessionIdle{10};

/// Those of this process: a session of a router that was restarted is not_found, and its client begins another. Those
/// that lie idle are ended by a thread of its own, so that garbage collection need not wait for clients that are gone.
/// Thread-safe; calls block.
class UploadSessions {
 public:
  explicit UploadSessions(Duration idle_for = kUploadSessionIdle);

  /// The id of a new one. exhausted when the workspace has too many.
  Result<std::string> begin(const std::shared_ptr<blob::ObjectStore>& store, const std::string& workspace);

  /// not_found when the workspace has none of that id, or it lay idle for too long. While the answer is held the
  /// session stands.
  Result<std::shared_ptr<blob::Intent>> find(const std::string& id, const std::string& workspace);

  /// When there is one.
  void end(const std::string& id);

 private:
  struct Session {
    std::shared_ptr<blob::Intent> intent;
    MonoTime used;
  };
  using Intents = std::vector<std::shared_ptr<blob::Intent>>;

  void end_idle_ones(const std::stop_token& stop);
  Intents take_idle();  // needs mutex_; to be let go without it

  const Duration idle_for_;
  std::mutex mutex_;
  std::condition_variable_any begun_;
  std::unordered_map<std::string, Session> sessions_;
  std::jthread ender_;  // last: it uses the others
};

}  // namespace hearth::control
