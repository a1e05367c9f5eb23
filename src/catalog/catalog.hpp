// Durable truth in the object store: versions, aliases, keys, image names. Everything by create-if-absent, so that
// concurrent writers on any number of machines never lose one another's work. Layout: docs/formats/catalog.md.
#pragma once

#include "base/result.hpp"
#include "catalog/api_key.hpp"
#include "catalog/image_record.hpp"
#include "catalog/names.hpp"
#include "catalog/snapshot.hpp"
#include "catalog/version_record.hpp"

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::blob {
class ObjectStore;
}

namespace hearth::catalog {

struct NewVersion {
  BranchRef branch;
  ModelConfig config;
  ImageSpec image;
};

/// Where image names live: in a workspace, or published to all ("python").
enum class ImageScope { workspace, shared };

struct ImageKey {
  ImageScope scope = ImageScope::workspace;
  std::string workspace;  // unused when shared
  std::string name;
};

/// Blocking, thread-safe, without state of its own. Errors of the store pass through with what was tried in front.
class Catalog {
 public:
  explicit Catalog(std::shared_ptr<blob::ObjectStore> store) : store_(std::move(store)) {}

  // --- Versions: numbers count up from 1 within a branch and are never used again ---

  /// The next version of the branch; retried until a free number is won.
  Result<VersionRecord> create_version(const NewVersion& version);
  /// not_found also when it was removed.
  Result<VersionRecord> version(const BranchRef& branch, uint32_t number);
  /// One branch as it is now. not_found when it never had a version or all are removed.
  Result<BranchState> branch(const BranchRef& branch);
  /// All live branches of a workspace; of one model unless empty.
  Result<std::map<BranchRef, BranchState>> branches(std::string_view workspace, std::string_view model = {});

  /// Refused (invalid_argument) while an alias points at it.
  Result<> remove_version(const BranchRef& branch, uint32_t number);
  /// All its versions and aliases.
  Result<> remove_branch(const BranchRef& branch);
  /// All its branches.
  Result<> remove_model(std::string_view workspace, std::string_view model);

  /// latest, a number or an alias → version.
  Result<Resolved> resolve(const BranchRef& branch, std::string_view version);

  // --- Aliases ---

  Result<> set_alias(const BranchRef& branch, std::string_view alias, uint32_t version);
  Result<> remove_alias(const BranchRef& branch, std::string_view alias);

  // --- Keys ---

  Result<NewApiKey> create_key(std::string_view workspace, std::string_view name);
  /// Of one workspace, oldest first; revoked ones left out.
  Result<std::vector<ApiKey>> list_keys(std::string_view workspace);
  Result<> revoke_key(std::string_view workspace, std::string_view id);

  // --- Image names ---

  /// Writes the next generation of the name.
  Result<> set_image(const ImageKey& key, const ImageRecord& record);
  /// not_found without any generation.
  Result<ImageRecord> image(const ImageKey& key);
  /// The workspace's, else the shared one of that name.
  Result<ImageRecord> find_image(std::string_view workspace, std::string_view name);
  /// The workspace's and the shared ones, by name.
  Result<std::vector<ImageRecord>> list_images(std::string_view workspace);

  // --- For caches ---

  /// The present state. Lists keys and fetches only objects that `previous` (may be null) does not hold. A record that
  /// cannot be read is logged and left out; an unreachable store is an error, and the caller keeps what it has.
  Result<std::shared_ptr<const Snapshot>> refresh(const std::shared_ptr<const Snapshot>& previous);

 private:
  Result<> change_aliases(const BranchRef& branch,
                          const std::function<Result<>(std::map<std::string, uint32_t, std::less<>>&)>& change);

  std::shared_ptr<blob::ObjectStore> store_;
};

}  // namespace hearth::catalog
