#include "catalog/catalog.hpp"

#include "base/random_id.hpp"
#include "blob/object_store.hpp"
#include "catalog/snapshot_builder.hpp"
#include "catalog/store_keys.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace hearth::catalog {
namespace {

constexpr int kAttempts = 1'000;  // each lost race means that another writer got through: this many never happen
constexpr size_t kKeyIdLength = 10;

Result<> check_branch_ref(const BranchRef& branch) {
  TRY_VOID(check_workspace_name(branch.workspace));
  TRY_VOID(check_model_name(branch.model));
  return check_branch_name(branch.branch);
}

std::string named(const BranchRef& branch) {
  return fmt::format("{} branch {}", branch.model, branch.branch);
}

Unexpected too_contended(std::string_view what) {
  return fail(ErrorCode::unavailable, fmt::format("{}: too many writers at once, try again", what));
}

/// Present state of a branch; empty when there is nothing.
Result<BranchState> load_branch(blob::ObjectStore& store, const BranchRef& branch) {
  TRY(BranchMap branches, load_branches(store, branch_prefix(branch), nullptr, Unreadable::skip));
  const auto found = branches.find(branch);
  if (found == branches.end()) return BranchState{};
  return std::move(found->second);
}

/// The highest number that was ever given, removed or not; 0 without any.
Result<uint64_t> highest_number(blob::ObjectStore& store, const BranchRef& branch) {
  TRY(const auto keys, store.list(branch_prefix(branch) + "versions/"));
  uint64_t highest = 0;
  for (const std::string& key : keys) {
    if (const auto object = parse_model_key(key)) highest = std::max(highest, object->number);
  }
  return highest;
}

}  // namespace

Result<VersionRecord> Catalog::create_version(const NewVersion& version) {
  TRY_VOID(check_branch_ref(version.branch));
  VersionRecord record{version.branch, 0, wall_now(), version.config, version.image};
  TRY(uint64_t number, highest_number(*store_, version.branch));
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    if (++number > UINT32_MAX)
      return fail(ErrorCode::exhausted, named(version.branch) + " has used all version numbers");
    record.version = static_cast<uint32_t>(number);
    auto created = store_->create(version_key(version.branch, record.version), version_record_to_json(record));
    if (!created)
      return fail_with_context("create the version of " + named(version.branch), std::move(created).error());
    if (*created == blob::Created::yes) return record;
  }
  return too_contended("create the version of " + named(version.branch));
}

Result<VersionRecord> Catalog::version(const BranchRef& branch, uint32_t number) {
  TRY_VOID(check_branch_ref(branch));
  TRY(const auto removed, store_->size(tombstone_key(branch, number)));
  if (removed) {
    return fail(ErrorCode::not_found, fmt::format("version {} of {} was removed", number, named(branch)));
  }
  auto text = store_->get(version_key(branch, number));
  if (!text && text.error().code == ErrorCode::not_found) {
    return fail(ErrorCode::not_found, fmt::format("version {} of {} does not exist", number, named(branch)));
  }
  if (!text) return fail_with_context("read the version", std::move(text).error());
  return version_record_from_json(*text);
}

Result<BranchState> Catalog::branch(const BranchRef& branch) {
  TRY_VOID(check_branch_ref(branch));
  TRY(BranchState state, load_branch(*store_, branch));
  if (!state.empty()) return state;
  return fail(ErrorCode::not_found, fmt::format("{} does not exist: deploy it with hearth deploy", named(branch)));
}

Result<std::map<BranchRef, BranchState>> Catalog::branches(std::string_view workspace, std::string_view model) {
  TRY_VOID(check_workspace_name(workspace));
  if (!model.empty()) TRY_VOID(check_model_name(model));
  const std::string prefix = model.empty() ? models_prefix(workspace) : model_prefix(workspace, model);
  TRY(BranchMap all, load_branches(*store_, prefix, nullptr, Unreadable::skip));
  std::erase_if(all, [](const auto& item) { return item.second.empty(); });
  return all;
}

Result<> Catalog::remove_version(const BranchRef& branch, uint32_t number) {
  TRY(const BranchState state, this->branch(branch));
  TRY(const Resolved found, resolve_in(state, branch, std::to_string(number)));
  for (const auto& [alias, target] : state.aliases) {
    if (target != number) continue;
    return fail(ErrorCode::invalid_argument,
                fmt::format("alias {} of {} points at version {}: move it with hearth alias set, or remove it first",
                            alias, named(branch), number));
  }
  // The record itself stays, so that its number is never given again.
  TRY_VOID(store_->create(tombstone_key(branch, found.record->version), "{\"format\":1}"));
  return {};
}

Result<> Catalog::remove_branch(const BranchRef& branch) {
  TRY(const BranchState state, this->branch(branch));
  if (!state.aliases.empty()) {
    TRY_VOID(change_aliases(branch, [](auto& aliases) -> Result<> {
      aliases.clear();
      return {};
    }));
  }
  for (const auto& [number, record] : state.versions) {
    TRY_VOID(store_->create(tombstone_key(branch, number), "{\"format\":1}"));
  }
  return {};
}

Result<> Catalog::remove_model(std::string_view workspace, std::string_view model) {
  TRY(const auto all, branches(workspace, model));
  if (model.empty() || all.empty()) {
    return fail(ErrorCode::not_found, fmt::format("no model named \"{}\" in workspace {}", model, workspace));
  }
  for (const auto& [branch, state] : all) TRY_VOID(remove_branch(branch));
  return {};
}

Result<Resolved> Catalog::resolve(const BranchRef& branch, std::string_view version) {
  TRY(const BranchState state, this->branch(branch));
  return resolve_in(state, branch, version);
}

Result<> Catalog::change_aliases(const BranchRef& branch,
                                 const std::function<Result<>(std::map<std::string, uint32_t, std::less<>>&)>& change) {
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    TRY(BranchState state, load_branch(*store_, branch));
    TRY_VOID(change(state.aliases));
    const std::string key = aliases_key(branch, state.alias_generation + 1);
    TRY(const auto created, store_->create(key, aliases_to_json(state.aliases)));
    if (created == blob::Created::yes) return {};
  }
  return too_contended("change the aliases of " + named(branch));
}

Result<> Catalog::set_alias(const BranchRef& branch, std::string_view alias, uint32_t version) {
  TRY_VOID(check_branch_ref(branch));
  TRY_VOID(check_alias_name(alias));
  TRY(const BranchState state, this->branch(branch));
  TRY_VOID(resolve_in(state, branch, std::to_string(version)));
  return change_aliases(branch, [alias, version](auto& aliases) -> Result<> {
    aliases.insert_or_assign(std::string(alias), version);
    return {};
  });
}

Result<> Catalog::remove_alias(const BranchRef& branch, std::string_view alias) {
  TRY_VOID(check_branch_ref(branch));
  return change_aliases(branch, [alias, &branch](auto& aliases) -> Result<> {
    const auto found = aliases.find(alias);
    if (found == aliases.end()) {
      return fail(ErrorCode::not_found, fmt::format("{} has no alias {}", named(branch), alias.substr(0, 80)));
    }
    aliases.erase(found);
    return {};
  });
}

Result<NewApiKey> Catalog::create_key(std::string_view workspace, std::string_view name) {
  TRY_VOID(check_workspace_name(workspace));
  if (name.empty() || name.size() > 200) {
    return fail(ErrorCode::invalid_argument, "a key needs a name of 1 to 200 characters, to know it by");
  }
  NewApiKey fresh{{random_id(kKeyIdLength), std::string(name), std::string(workspace), wall_now()},
                  random_key_secret()};
  TRY(const auto created, store_->create(api_key_key(key_digest(fresh.secret)), api_key_to_json(fresh.key)));
  CHECK_PROMISE(created == blob::Created::yes);  // 256 random bits do not repeat
  return fresh;
}

Result<std::vector<ApiKey>> Catalog::list_keys(std::string_view workspace) {
  TRY_VOID(check_workspace_name(workspace));
  TRY(const auto all, load_keys(*store_, nullptr));
  std::vector<ApiKey> keys;
  for (const auto& [digest, key] : all) {
    if (key.workspace == workspace) keys.push_back(key);
  }
  std::ranges::sort(
      keys, [](const ApiKey& a, const ApiKey& b) { return std::tie(a.created, a.id) < std::tie(b.created, b.id); });
  return keys;
}

Result<> Catalog::revoke_key(std::string_view workspace, std::string_view id) {
  TRY_VOID(check_workspace_name(workspace));
  TRY(const auto all, load_keys(*store_, nullptr));
  for (const auto& [digest, key] : all) {
    if (key.workspace != workspace || key.id != id) continue;
    TRY_VOID(store_->create(revoked_key(digest), "{\"format\":1}"));
    return {};
  }
  return fail(ErrorCode::not_found,
              fmt::format("workspace {} has no key {}: hearth key ls lists them", workspace, id.substr(0, 80)));
}

Result<std::shared_ptr<const Snapshot>> Catalog::refresh(const std::shared_ptr<const Snapshot>& previous) {
  return SnapshotBuilder(*store_, previous.get()).build();
}

}  // namespace hearth::catalog
