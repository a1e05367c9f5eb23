#include "image/store_check.hpp"

#include "image/in_parallel.hpp"
#include "image/stored_chunk.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace hearth::image {
namespace {

constexpr std::string_view kLayers = "/layers/";

/// The scopes that somebody of this scope refers to, his own first.
std::vector<StoreScope> reach_of(const StoreScope& scope) {
  if (scope == StoreScope::shared()) return {scope};
  return {scope, StoreScope::shared()};
}

}  // namespace

Result<CheckReport> StoreChecker::check(const StoreScope& scope, const std::vector<LayerUser>& users) {
  report_ = {};
  users_.clear();
  layers_.clear();
  packs_.clear();
  done_ = 0;
  for (const LayerUser& user : users) users_.emplace(user.layer, user.name);
  // Indexes are listed before packs are: what a writer makes meanwhile is not seen, or seen whole.
  std::vector<std::pair<StoreScope, blob::ObjectInfo>> indexes;
  for (const StoreScope& place : reach_of(scope)) {
    TRY(auto objects, store_->list_objects(place.prefix() + std::string(kLayers)));
    for (blob::ObjectInfo& object : objects) indexes.emplace_back(place, std::move(object));
  }
  for (const StoreScope& place : reach_of(scope)) TRY_VOID(list_packs(place));
  TRY_VOID(read_indexes(indexes));
  check_users(users);
  TRY_VOID(check_sizes());
  if (options_.depth == CheckDepth::deep) TRY_VOID(check_bytes());
  return std::move(report_);
}

Result<> StoreChecker::list_packs(const StoreScope& scope) {
  TRY(const auto objects, store_->list_objects(scope.prefix() + "/packs/"));
  for (const blob::ObjectInfo& object : objects) {
    Pack& pack = packs_[object.key];
    pack.exists = true;
    pack.size = object.size;
    ++report_.packs;
  }
  return {};
}

Result<> StoreChecker::read_indexes(const std::vector<std::pair<StoreScope, blob::ObjectInfo>>& indexes) {
  report_.layers = indexes.size();
  return in_parallel(indexes.size(), options_.threads, [&](size_t i) -> Result<> {
    if (options_.stop.stop_requested()) return fail(ErrorCode::cancelled, "the check was stopped");
    TRY_VOID(read_index(indexes[i].first, indexes[i].second));
    const std::lock_guard lock(mutex_);
    tell("indexes", ++done_, indexes.size());
    return {};
  });
}

Result<> StoreChecker::read_index(const StoreScope& scope, const blob::ObjectInfo& object) {
  auto bytes = store_->get(object.key);
  if (!bytes && bytes.error().code == ErrorCode::not_found) return {};  // collected since
  if (!bytes) return fail_with_context("read " + object.key, std::move(bytes).error());
  const auto named = Digest::parse(std::string_view(object.key).substr(scope.prefix().size() + kLayers.size()));
  const std::set<std::string> users = named ? users_of(*named) : std::set<std::string>();
  auto index = LayerIndex::decode(std::move(*bytes));
  const std::lock_guard lock(mutex_);
  if (!index) {
    report(object.key, index.error().message, users);
  } else if (!named || index->digest() != *named) {
    report(object.key, "the index has another digest: " + index->digest().hex(), users);
  } else {
    layers_.insert(*named);
    note_packs(scope, *index, object.key, users);
  }
  return {};
}

void StoreChecker::note_packs(const StoreScope& scope, const LayerIndex& index, const std::string& layer_key,
                              const std::set<std::string>& users) {
  std::vector<Pack*> packs;
  for (uint32_t i = 0; i < index.pack_count(); ++i) {
    const PackInfo info = index.pack(i);
    std::string key = scope.pack_key(info.digest);
    for (const StoreScope& place : reach_of(scope)) {
      const auto found = packs_.find(place.pack_key(info.digest));
      if (found == packs_.end() || !found->second.exists) continue;
      key = found->first;
      break;
    }
    Pack& pack = packs_[key];
    pack.promised.insert(info.size);
    pack.users.insert(users.begin(), users.end());
    pack.named_by.insert(layer_key);
    packs.push_back(&pack);
  }
  if (options_.depth == CheckDepth::shallow) return;
  for (uint32_t i = 0; i < index.chunk_count(); ++i) {
    const ChunkInfo chunk = index.chunk(i);
    const ChunkLocation place = index.location(i);
    packs[place.pack]->places.push_back(
        {place.offset, place.stored_length, chunk.length, place.encoding, chunk.digest});
  }
}

std::set<std::string> StoreChecker::users_of(const Digest& layer) const {
  std::set<std::string> names;
  const auto [begin, end] = users_.equal_range(layer);
  for (auto at = begin; at != end; ++at) names.insert(at->second);
  return names;
}

void StoreChecker::check_users(const std::vector<LayerUser>& users) {
  std::set<Digest> missing;
  for (const LayerUser& user : users) {
    if (!layers_.contains(user.layer) && missing.insert(user.layer).second) {
      report("layers/" + user.layer.hex(), "the layer is missing, or cannot be read", users_of(user.layer));
    }
  }
}

Result<> StoreChecker::check_sizes() {
  for (const auto& [key, pack] : packs_) {
    if (!pack.exists) {
      TRY(const bool needed, is_named_still(pack));
      if (needed) report(key, "the pack is missing", pack.users);
      continue;
    }
    for (const uint64_t size : pack.promised) {
      if (size == pack.size) continue;
      report(key, fmt::format("the pack has {} bytes; an index says {}", pack.size, size), pack.users);
    }
  }
  return {};
}

/// A pack goes after all layers that name it: if one of them is there, it should be too.
Result<bool> StoreChecker::is_named_still(const Pack& pack) const {
  for (const std::string& layer : pack.named_by) {
    TRY(const auto size, store_->size(layer));
    if (size) return true;
  }
  return false;
}

Result<> StoreChecker::check_bytes() {
  std::vector<std::pair<const std::string, Pack>*> packs;
  uint64_t total = 0;
  for (auto& entry : packs_) {
    if (!entry.second.exists) continue;
    packs.push_back(&entry);
    total += entry.second.size;
  }
  done_ = 0;
  return in_parallel(packs.size(), options_.threads, [&](size_t i) -> Result<> {
    if (options_.stop.stop_requested()) return fail(ErrorCode::cancelled, "the check was stopped");
    TRY_VOID(check_pack(packs[i]->first, packs[i]->second));
    const std::lock_guard lock(mutex_);
    done_ += packs[i]->second.size;
    tell("packs", done_, total);
    return {};
  });
}

/// A pack whose own digest is right may still hold other bytes than an index says.
Result<> StoreChecker::check_pack(const std::string& key, Pack& pack) {
  auto bytes = store_->get(key);
  if (!bytes && bytes.error().code == ErrorCode::not_found) return {};  // collected since
  if (!bytes) return fail_with_context("read " + key, std::move(bytes).error());
  std::ranges::sort(pack.places);
  pack.places.erase(std::ranges::unique(pack.places).begin(), pack.places.end());
  const bool whole = Digest::of(*bytes).hex() == key.substr(key.rfind('/') + 1);
  size_t wrong = 0;
  for (const Place& place : pack.places) {
    const bool inside = place.offset <= bytes->size() && place.stored_length <= bytes->size() - place.offset;
    const std::string_view stored =
        inside ? std::string_view(*bytes).substr(place.offset, place.stored_length) : std::string_view();
    if (!inside || !decode_stored_chunk({place.digest, place.length}, place.encoding, stored)) ++wrong;
  }
  const std::lock_guard lock(mutex_);
  report_.bytes_read += bytes->size();
  report_.chunks += pack.places.size();
  if (!whole) report(key, "its bytes do not match its digest", pack.users);
  if (wrong > 0) {
    report(key, fmt::format("{} of {} chunks do not match their digests", wrong, pack.places.size()), pack.users);
  }
  pack.places = {};
  return {};
}

void StoreChecker::report(std::string object, std::string what, const std::set<std::string>& users) {
  report_.problems.push_back({std::move(object), std::move(what), {users.begin(), users.end()}});
}

void StoreChecker::tell(std::string_view phase, uint64_t done, uint64_t total) {
  if (options_.progress) options_.progress({phase, done, total});
}

}  // namespace hearth::image
