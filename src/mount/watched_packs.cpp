#include "mount/watched_packs.hpp"

#include "base/fanotify.hpp"
#include "base/log.hpp"

namespace hearth::mount {

Result<> WatchedPacks::watch(const std::shared_ptr<PackFile>& pack, holder::Observe observe) {
  const uint64_t token = pack_token(pack->digest());
  const std::lock_guard lock(mutex_);
  const auto [known, fresh] = packs_.emplace(token, pack);
  if (!fresh && known->second != pack) {
    if (known->second->digest() != pack->digest()) return fail(ErrorCode::internal, "two packs have one token");
    known->second = pack;
    marked_.erase(token);
  }
  if (pack->complete()) return {};
  if (marked_.contains(token)) return observe == holder::Observe::yes ? holder_.keep_pack(pack, observe) : Result<>{};
  TRY_VOID(holder_.keep_pack(pack, observe));
  TRY_VOID(fanotify::mark(holder_.group(), pack->data_fd()));
  marked_.insert(token);
  return {};
}

void WatchedPacks::stop_observing(const std::shared_ptr<PackFile>& pack) {
  const std::lock_guard lock(mutex_);
  if (!marked_.contains(pack_token(pack->digest()))) return;
  if (auto kept = holder_.keep_pack(pack, holder::Observe::no); !kept) {
    log_info("the holder goes on telling reads", {{"error", kept.error().message}});
  }
}

std::shared_ptr<PackFile> WatchedPacks::find(uint64_t token) const {
  const std::lock_guard lock(mutex_);
  const auto found = packs_.find(token);
  return found == packs_.end() ? nullptr : found->second;
}

void WatchedPacks::unmark_complete() {
  const std::lock_guard lock(mutex_);
  for (auto at = marked_.begin(); at != marked_.end();) {
    const auto& pack = packs_.at(*at);
    if (!pack->complete()) {
      ++at;
      continue;
    }
    if (auto unmarked = fanotify::unmark(holder_.group(), pack->data_fd()); !unmarked) {
      log_warning("a complete pack keeps its mark", {{"error", unmarked.error().message}});
      ++at;
      continue;
    }
    log_info("pack complete", {{"pack", pack->digest().hex().substr(0, 12)}});
    at = marked_.erase(at);
  }
}

void WatchedPacks::forget(const std::shared_ptr<PackFile>& pack) {
  const uint64_t token = pack_token(pack->digest());
  const std::lock_guard lock(mutex_);
  if (marked_.erase(token) > 0) (void)fanotify::unmark(holder_.group(), pack->data_fd());
  holder_.drop_pack(pack->digest());
  packs_.erase(token);
}

}  // namespace hearth::mount
