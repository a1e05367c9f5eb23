#include "catalog/snapshot.hpp"

#include "catalog/names.hpp"

#include <fmt/format.h>

#include <vector>

namespace hearth::catalog {
namespace {

constexpr size_t kNamesShown = 10;

/// "1, 2, 3" of what exists, the newest last; "none" without any.
std::string shown_versions(const BranchState& state) {
  std::vector<std::string> names;
  const size_t skip = state.versions.size() > kNamesShown ? state.versions.size() - kNamesShown : 0;
  if (skip > 0) names.emplace_back("…");
  size_t at = 0;
  for (const auto& [number, record] : state.versions) {
    if (at++ >= skip) names.push_back(std::to_string(number));
  }
  for (const auto& [alias, number] : state.aliases) {
    if (names.size() > 2 * kNamesShown) break;
    names.push_back(alias);
  }
  return names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", "));
}

std::string named(const BranchRef& branch) {
  return branch.branch == kDefaultBranch ? fmt::format("model {}", branch.model)
                                         : fmt::format("branch {} of model {}", branch.branch, branch.model);
}

}  // namespace

Result<Resolved> resolve_in(const BranchState& state, const BranchRef& branch, std::string_view version) {
  if (version == kLatest) {
    if (state.empty()) {
      return fail(ErrorCode::not_found, fmt::format("{} has no version: deploy one with hearth deploy", named(branch)));
    }
    return Resolved{state.versions.rbegin()->second, std::string(kLatest)};
  }
  if (const auto number = parse_version_number(version)) {
    if (const auto found = state.versions.find(*number); found != state.versions.end()) {
      return Resolved{found->second, ""};
    }
    const std::string_view why = state.removed.contains(*number) ? "was removed" : "does not exist";
    return fail(ErrorCode::not_found,
                fmt::format("version {} of {} {}; there are: {}", *number, named(branch), why, shown_versions(state)));
  }
  const auto alias = state.aliases.find(version);
  if (alias == state.aliases.end()) {
    return fail(ErrorCode::not_found, fmt::format("{} has no version or alias \"{}\"; there are: {}", named(branch),
                                                  version.substr(0, 80), shown_versions(state)));
  }
  const auto found = state.versions.find(alias->second);
  if (found == state.versions.end()) {
    return fail(ErrorCode::not_found,
                fmt::format("alias {} of {} points at version {}, which was removed: set it anew with hearth alias set",
                            version, named(branch), alias->second));
  }
  return Resolved{found->second, std::string(version)};
}

const ApiKey* Snapshot::find_key(const Digest& digest) const {
  const auto found = keys_.find(digest);
  return found == keys_.end() ? nullptr : &found->second;
}

bool Snapshot::has_workspace(std::string_view workspace) const {
  return workspaces_.contains(workspace);
}

const BranchState* Snapshot::find_branch(const BranchRef& branch) const {
  const auto found = branches_.find(branch);
  return found == branches_.end() ? nullptr : &found->second;
}

Result<Resolved> Snapshot::resolve(const BranchRef& branch, std::string_view version) const {
  if (const BranchState* state = find_branch(branch); state != nullptr && !state->empty()) {
    return resolve_in(*state, branch, version);
  }
  std::vector<std::string_view> others;
  const BranchRef first{branch.workspace, branch.model, ""};
  for (auto at = branches_.lower_bound(first); at != branches_.end(); ++at) {
    if (at->first.workspace != branch.workspace || at->first.model != branch.model) break;
    if (!at->second.empty() && others.size() < kNamesShown) others.push_back(at->first.branch);
  }
  if (others.empty()) {
    return fail(ErrorCode::not_found, fmt::format("no model named {} in workspace {}: deploy it with hearth deploy",
                                                  branch.model.substr(0, 80), branch.workspace));
  }
  return fail(ErrorCode::not_found, fmt::format("model {} has no branch {}; there are: {}", branch.model,
                                                branch.branch.substr(0, 80), fmt::join(others, ", ")));
}

}  // namespace hearth::catalog
