// What a client uploads stays in the store until it is used: an intent (blob/intent.hpp) for each client that deploys
// or imports, from before it asks what is missing until a node has used it.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"
#include "blob/intent.hpp"
#include "blob/object_store.hpp"

#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

namespace hearth::control {

/// Those of this process: a session of a router that was restarted is not_found, and its client begins another.
/// Thread-safe; calls block.
class UploadSessions {
 public:
  /// The id of a new one. exhausted when the workspace has too many.
  Result<std::string> begin(const std::shared_ptr<blob::ObjectStore>& store, const std::string& workspace);

  /// not_found when the workspace has none of that id, or nobody asked for it for ten minutes. While the answer is held
  /// the session stands.
  Result<std::shared_ptr<blob::Intent>> find(const std::string& id, const std::string& workspace);

  /// When there is one.
  void end(const std::string& id);

 private:
  struct Session {
    std::shared_ptr<blob::Intent> intent;
    MonoTime used;
  };
  using Intents = std::vector<std::shared_ptr<blob::Intent>>;

  Intents take_idle();  // needs mutex_; to be let go without it

  std::mutex mutex_;
  std::unordered_map<std::string, Session> sessions_;
};

}  // namespace hearth::control
