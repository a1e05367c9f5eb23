#include "catalog/snapshot_builder.hpp"

#include "base/log.hpp"
#include "blob/object_store.hpp"
#include "catalog/json_fields.hpp"
#include "catalog/names.hpp"
#include "catalog/record_json.hpp"
#include "catalog/store_keys.hpp"

#include <nlohmann/json.hpp>

#include <set>

namespace hearth::catalog {
namespace {

/// A record that cannot be read must not take the others with it; a store that cannot be reached is another matter.
Result<> tolerate(std::string_view key, const Error& error, Unreadable unreadable) {
  const bool lasting = error.code == ErrorCode::corrupt || error.code == ErrorCode::not_found;
  if (unreadable == Unreadable::fail || !lasting) return fail_with_context(key, error);
  log_warning("a stored record cannot be read and is left out", {{"key", key}, {"error", error.message}});
  return {};
}

Result<std::shared_ptr<const VersionRecord>> fetch_version(blob::ObjectStore& store, const BranchRef& branch,
                                                           uint32_t number) {
  TRY(const std::string text, store.get(version_key(branch, number)));
  TRY(VersionRecord record, version_record_from_json(text));
  if (record.branch != branch || record.version != number) {
    return fail(ErrorCode::corrupt, "the version record names another version than its key");
  }
  return std::make_shared<const VersionRecord>(std::move(record));
}

Result<> fetch_aliases(blob::ObjectStore& store, const BranchRef& branch, BranchState& state) {
  TRY(const std::string text, store.get(aliases_key(branch, state.alias_generation)));
  TRY(const nlohmann::json value, parse_stored(text, "alias record"));
  JsonFields fields(value, "alias record");
  fields.read("aliases", state.aliases);
  return fields.result();
}

/// What one branch's listing says, before anything is fetched.
struct Listed {
  std::set<uint32_t> versions;
  std::set<uint32_t> removed;
  uint64_t alias_generation = 0;
};

void note(const ModelObject& object, Listed& listed) {
  switch (object.kind) {
    case ModelObject::Kind::version:
      listed.versions.insert(static_cast<uint32_t>(object.number));
      break;
    case ModelObject::Kind::tombstone:
      listed.removed.insert(static_cast<uint32_t>(object.number));
      break;
    case ModelObject::Kind::aliases:
      listed.alias_generation = std::max(listed.alias_generation, object.number);
      break;
  }
}

Result<> fill(blob::ObjectStore& store, const BranchRef& branch, const BranchState* known, BranchState& state,
              const Listed& listed, Unreadable unreadable) {
  state.removed = listed.removed;
  for (uint32_t number : listed.versions) {
    if (listed.removed.contains(number)) continue;
    if (known != nullptr) {
      if (const auto found = known->versions.find(number); found != known->versions.end()) {
        state.versions.insert(*found);
        continue;
      }
    }
    auto record = fetch_version(store, branch, number);
    if (record) {
      state.versions.emplace(number, std::move(*record));
    } else {
      TRY_VOID(tolerate(version_key(branch, number), record.error(), unreadable));
    }
  }
  state.alias_generation = listed.alias_generation;
  if (state.alias_generation == 0) return {};
  if (known != nullptr && known->alias_generation == state.alias_generation) {
    state.aliases = known->aliases;
    return {};
  }
  auto aliases = fetch_aliases(store, branch, state);
  if (aliases) return {};
  if (known != nullptr) state.aliases = known->aliases;  // better the last ones known than none
  return tolerate(aliases_key(branch, state.alias_generation), aliases.error(), unreadable);
}

}  // namespace

std::string aliases_to_json(const std::map<std::string, uint32_t, std::less<>>& aliases) {
  return dump({{"format", 1}, {"aliases", aliases}});
}

Result<BranchMap> load_branches(blob::ObjectStore& store, std::string_view prefix, const BranchMap* known,
                                Unreadable unreadable) {
  TRY(const auto keys, store.list(prefix));
  std::map<BranchRef, Listed> listed;
  for (const std::string& key : keys) {
    if (const auto object = parse_model_key(key)) note(*object, listed[object->branch]);
  }
  BranchMap branches;
  for (const auto& [branch, what] : listed) {
    const BranchState* before = nullptr;
    if (known != nullptr) {
      if (const auto found = known->find(branch); found != known->end()) before = &found->second;
    }
    TRY_VOID(fill(store, branch, before, branches[branch], what, unreadable));
  }
  return branches;
}

Result<std::unordered_map<Digest, ApiKey>> load_keys(blob::ObjectStore& store,
                                                     const std::unordered_map<Digest, ApiKey>* known) {
  TRY(const auto keys, store.list(kKeysPrefix));
  std::unordered_map<Digest, ApiKey> loaded;
  std::set<std::string_view> revoked;
  for (std::string_view key : keys) {
    if (key.ends_with(".revoked")) revoked.insert(key.substr(0, key.size() - std::string_view(".revoked").size()));
  }
  for (std::string_view key : keys) {
    if (!key.ends_with(".json")) continue;
    const std::string_view stem = key.substr(0, key.size() - std::string_view(".json").size());
    if (revoked.contains(stem)) continue;
    const auto digest = Digest::parse(stem.substr(kKeysPrefix.size()));
    if (!digest) continue;
    if (known != nullptr) {
      if (const auto found = known->find(*digest); found != known->end()) {
        loaded.insert(*found);
        continue;
      }
    }
    auto text = store.get(key);
    auto record = text ? api_key_from_json(*text) : Result<ApiKey>(Unexpected(text.error()));
    if (record) {
      loaded.emplace(*digest, std::move(*record));
    } else {
      TRY_VOID(tolerate(key, record.error(), Unreadable::skip));
    }
  }
  return loaded;
}

Result<std::shared_ptr<const Snapshot>> SnapshotBuilder::build() {
  TRY(snapshot_->keys_, load_keys(store_, previous_ == nullptr ? nullptr : &previous_->keys()));
  snapshot_->workspaces_.emplace(kDefaultWorkspace);
  for (const auto& [digest, key] : snapshot_->keys_) snapshot_->workspaces_.insert(key.workspace);
  for (const std::string& workspace : snapshot_->workspaces_) {
    const BranchMap* known = previous_ == nullptr ? nullptr : &previous_->branches();
    TRY(auto branches, load_branches(store_, models_prefix(workspace), known, Unreadable::skip));
    snapshot_->branches_.merge(branches);
  }
  return std::shared_ptr<const Snapshot>(std::move(snapshot_));
}

}  // namespace hearth::catalog
