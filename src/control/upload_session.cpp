#include "control/upload_session.hpp"

#include <algorithm>
#include <utility>

namespace hearth::control {
namespace {

constexpr int kLooksPerIdle = 10;
constexpr size_t kSessionsMax = 64;  // of one workspace; each has a thread that renews it

}  // namespace

UploadSessions::UploadSessions(Duration idle_for)
    : idle_for_(idle_for), ender_([this](const std::stop_token& stop) { end_idle_ones(stop); }) {}

void UploadSessions::end_idle_ones(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (begun_.wait(lock, stop, [this] { return !sessions_.empty(); })) {
    begun_.wait_for(lock, stop, idle_for_ / kLooksPerIdle, [] { return false; });
    if (stop.stop_requested()) return;
    Intents idle = take_idle();
    lock.unlock();
    idle.clear();  // removes them from the store
    lock.lock();
  }
}

UploadSessions::Intents UploadSessions::take_idle() {
  const MonoTime now = mono_now();
  Intents idle;
  for (auto at = sessions_.begin(); at != sessions_.end();) {
    Session& session = at->second;
    if (session.intent.use_count() > 1) session.used = now;  // by a build, say
    if (now - session.used < idle_for_) {
      ++at;
      continue;
    }
    idle.push_back(std::move(session.intent));
    at = sessions_.erase(at);
  }
  return idle;
}

Result<std::string> UploadSessions::begin(const std::shared_ptr<blob::ObjectStore>& store,
                                          const std::string& workspace) {
  {
    const std::lock_guard lock(mutex_);
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
  begun_.notify_one();
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
