// The catalog as one router knows it: immutable, looked up without any I/O, replaced as a whole by Catalog::refresh.
#pragma once

#include "base/digest.hpp"
#include "base/result.hpp"
#include "catalog/api_key.hpp"
#include "catalog/version_record.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>

namespace hearth::catalog {

/// One branch of a model. `versions` are the live ones.
struct BranchState {
  std::map<uint32_t, std::shared_ptr<const VersionRecord>> versions;
  std::set<uint32_t> removed;
  std::map<std::string, uint32_t, std::less<>> aliases;
  uint64_t alias_generation = 0;  // 0: none written yet

  /// Highest live version; 0 without any.
  uint32_t latest() const { return versions.empty() ? 0 : versions.rbegin()->first; }
  bool empty() const { return versions.empty(); }
};

/// A version and how it was named.
struct Resolved {
  std::shared_ptr<const VersionRecord> record;
  std::string alias;  // "latest" or the alias used; empty when named by number
};

/// latest, a number or an alias → version. not_found says what exists instead.
Result<Resolved> resolve_in(const BranchState& state, const BranchRef& branch, std::string_view version);

/// Thread-safe, as it never changes.
class Snapshot {
 public:
  /// The key with this digest, unless revoked. Lives as long as the snapshot.
  const ApiKey* find_key(const Digest& digest) const;
  bool has_workspace(std::string_view workspace) const;
  const BranchState* find_branch(const BranchRef& branch) const;
  /// What a request names. not_found tells model, branch and version apart and says what exists.
  Result<Resolved> resolve(const BranchRef& branch, std::string_view version) const;

  const std::unordered_map<Digest, ApiKey>& keys() const { return keys_; }
  const std::map<BranchRef, BranchState>& branches() const { return branches_; }
  const std::set<std::string, std::less<>>& workspaces() const { return workspaces_; }

 private:
  friend class SnapshotBuilder;
  std::unordered_map<Digest, ApiKey> keys_;  // revoked ones are absent
  std::set<std::string, std::less<>> workspaces_;
  std::map<BranchRef, BranchState> branches_;
};

}  // namespace hearth::catalog
