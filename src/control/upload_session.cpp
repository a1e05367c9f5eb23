#include "control/upload_session.hpp"

#include <algorithm>
#include <utility>

namespace hearth::control {
namespace {

constexpr Duration kIdleFor = std::chrono::minutes(10);
constexpr size_t kSessionsMax = 64;  // of one workspace; each has a thread that renews it

}  // namespace

UploadSessions::Intents UploadSessions::take_idle() {
  const MonoTime now = mono_now();
  Intents idle;
  std::erase_if(sessions_, [now, &idle](auto& entry) {
    if (now - entry.second.used < kIdleFor) return false;
    idle.push_back(std::move(entry.second.intent));
    return true;
  });
  return idle;
}

Result<std::string> UploadSessions::begin(const std::shared_ptr<blob::ObjectStore>& store,
                                          const std::string& workspace) {
  Intents idle;
  {
    const std::lock_guard lock(mutex_);
    idle = take_idle();
    const auto own = std::ranges::count_if(
        sessions_, [&workspace](const auto& entry) { return entry.second.intent->workspace() == workspace; });
    if (static_cast<size_t>(own) >= kSessionsMax) {
      return fail(ErrorCode::exhausted, "too many clients upload at once; try again in a few minutes");
    }
  }
  blob::IntentOptions options;
  options.workspace = workspace;
  options.owner = "an upload";
  TRY(auto intent, blob::Intent::begin(store, std::move(options)));
  std::string id = intent->id();
  const std::lock_guard lock(mutex_);
  sessions_.emplace(id, Session{std::move(intent), mono_now()});
  return id;
}

Result<std::shared_ptr<blob::Intent>> UploadSessions::find(const std::string& id, const std::string& workspace) {
  const std::lock_guard lock(mutex_);
  const auto found = sessions_.find(id);
  if (found == sessions_.end() || found->second.intent->workspace() != workspace) {
    return fail(ErrorCode::not_found, "no upload session '" + id + "', or it ended: begin another");
  }
  found->second.used = mono_now();
  return found->second.intent;
}

void UploadSessions::end(const std::string& id) {
  decltype(sessions_)::node_type ended;  // let go without the lock: that removes it from the store
  const std::lock_guard lock(mutex_);
  ended = sessions_.extract(id);
}

}  // namespace hearth::control
