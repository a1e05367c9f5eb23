#include "mount/store_tier.hpp"

#include <algorithm>
#include <optional>

namespace hearth::mount {

std::string_view to_string(Urgency urgency) {
  return urgency == Urgency::demand ? "demand" : "prefetch";
}

/// The scope that had the pack last comes first; after wrong bytes each scope in its turn, whatever is remembered.
std::vector<image::StoreScope> StoreTier::order(const ChunkRead& what) {
  std::vector<image::StoreScope> scopes(what.scopes.begin(), what.scopes.end());
  if (scopes.empty()) return scopes;
  if (what.round > 0) {
    std::rotate(scopes.begin(), scopes.begin() + static_cast<ptrdiff_t>(what.round % scopes.size()), scopes.end());
    return scopes;
  }
  const std::lock_guard lock(mutex_);
  if (const auto known = found_in_.find(what.pack); known != found_in_.end()) {
    const auto at = std::ranges::find(scopes, known->second);
    if (at != scopes.end()) std::rotate(scopes.begin(), at, at + 1);
  }
  return scopes;
}

void StoreTier::remember(const Digest& pack, const image::StoreScope& scope) {
  const std::lock_guard lock(mutex_);
  if (found_in_.size() >= kRememberedMax) found_in_.clear();
  found_in_.insert_or_assign(pack, scope);
}

Result<ChunkBytes> StoreTier::read(const ChunkRead& what) {
  const bool is_demand = what.urgency == Urgency::demand;
  auto came_by = blob::Route::origin;
  const blob::ReadOptions options{.priority = is_demand ? blob::Priority::demand : blob::Priority::prefetch,
                                  .limiter = is_demand ? nullptr : options_.prefetch_limit,
                                  .stop = what.stop,
                                  .deadline = what.deadline,
                                  .route = what.round == 0 ? blob::Route::nearest : blob::Route::origin,
                                  .came_by = &came_by};
  std::optional<Error> error;
  for (const auto& scope : order(what)) {
    if (what.stop.stop_requested()) return fail(ErrorCode::cancelled, "given up");
    auto bytes = source_->read(scope.pack_key(what.pack), what.stored_offset, what.stored_length, options);
    if (bytes) {
      remember(what.pack, scope);
      return ChunkBytes{.form = ChunkBytes::Form::stored,
                        .bytes = std::move(*bytes),
                        .source = came_by == blob::Route::nearest ? kMirror : kStore};
    }
    // Absence here says nothing of the next scope; of several troubles, one that may pass is what is reported.
    if (!error || error->code == ErrorCode::not_found) error = std::move(bytes).error();
  }
  if (!error) return fail(ErrorCode::not_found, "nobody may read pack " + what.pack.hex());
  return Unexpected(std::move(*error));
}

}  // namespace hearth::mount
