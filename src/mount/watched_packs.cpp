#include "mount/watched_packs.hpp"

#include "base/fanotify.hpp"
#include "base/log.hpp"

#include <utility>

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
  if (marked_.contains(token)) return observe == holder::Observe::yes ? holder_.keep_pack(pack, observe) : Result<>{};
  return mark(pack, observe);
}

/// `mutex_` is held.
Result<> WatchedPacks::mark(const std::shared_ptr<PackFile>& pack, holder::Observe observe) {
  TRY_VOID(holder_.keep_pack(pack, observe));
  TRY_VOID(fanotify::mark(holder_.group(), pack->data_fd()));
  marked_.insert(pack_token(pack->digest()));
  return {};
}

Result<> WatchedPacks::mark_again(const std::shared_ptr<PackFile>& pack) {
  const uint64_t token = pack_token(pack->digest());
  const std::lock_guard lock(mutex_);
  if (!packs_.contains(token) || marked_.contains(token)) return {};
  return mark(pack, holder::Observe::no);
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

std::vector<std::shared_ptr<PackFile>> WatchedPacks::complete_and_marked() const {
  std::vector<std::shared_ptr<PackFile>> found;
  const std::lock_guard lock(mutex_);
  for (const uint64_t token : marked_) {
    if (const auto& pack = packs_.at(token); pack->complete()) found.push_back(pack);
  }
  return found;
}

/// Those that lost their marks at the last look. A read that came just before that has been answered since.
void WatchedPacks::drop_unmarked() {
  const std::lock_guard lock(mutex_);
  for (const uint64_t token : std::exchange(unmarked_, {})) {
    const auto pack = packs_.find(token);
    if (pack != packs_.end() && !marked_.contains(token)) holder_.drop_pack(pack->second->digest());
  }
}

void WatchedPacks::unmark_complete() {
  drop_unmarked();
  for (const auto& pack : complete_and_marked()) {
    // Without the lock: it may take long, and readers of other packs do not wait for it.
    if (auto synced = pack->sync(); !synced) {
      log_error("a pack is not complete after all", {{"error", synced.error().message}});
      continue;
    }
    unmark(pack);
  }
}

void WatchedPacks::unmark(const std::shared_ptr<PackFile>& pack) {
  const std::lock_guard lock(mutex_);
  const auto at = marked_.find(pack_token(pack->digest()));
  if (at == marked_.end() || packs_.at(*at) != pack || !pack->complete()) return;
  if (auto unmarked = fanotify::unmark(holder_.group(), pack->data_fd()); !unmarked) {
    log_warning("a complete pack keeps its mark", {{"error", unmarked.error().message}});
    return;
  }
  log_info("pack complete", {{"pack", pack->digest().hex().substr(0, 12)}});
  unmarked_.push_back(*at);
  marked_.erase(at);
}

void WatchedPacks::forget(const std::shared_ptr<PackFile>& pack) {
  const uint64_t token = pack_token(pack->digest());
  const std::lock_guard lock(mutex_);
  if (marked_.erase(token) > 0) (void)fanotify::unmark(holder_.group(), pack->data_fd());
  holder_.drop_pack(pack->digest());
  packs_.erase(token);
}

}  // namespace hearth::mount
