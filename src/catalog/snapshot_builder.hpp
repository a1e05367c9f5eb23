// Makes branch states and snapshots from listings of the object store, fetching only what is not known yet. Private.
#pragma once

#include "base/result.hpp"
#include "catalog/snapshot.hpp"

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::blob {
class ObjectStore;
}

namespace hearth::catalog {

using BranchMap = std::map<BranchRef, BranchState>;

/// What to do with a stored record that cannot be read.
enum class Unreadable { fail, skip };

/// All branches under a prefix of ws/<w>/models/, removed ones included. Records in `known` (may be null) are not
/// fetched again.
Result<BranchMap> load_branches(blob::ObjectStore& store, std::string_view prefix, const BranchMap* known,
                                Unreadable unreadable);

/// The JSON of one generation of aliases.
std::string aliases_to_json(const std::map<std::string, uint32_t, std::less<>>& aliases);

/// All keys that are not revoked. Those in `known` (may be null) are not fetched again.
Result<std::unordered_map<Digest, ApiKey>> load_keys(blob::ObjectStore& store,
                                                     const std::unordered_map<Digest, ApiKey>* known);

class SnapshotBuilder {
 public:
  SnapshotBuilder(blob::ObjectStore& store, const Snapshot* previous) : store_(store), previous_(previous) {}
  Result<std::shared_ptr<const Snapshot>> build();

 private:
  blob::ObjectStore& store_;
  const Snapshot* previous_;
  std::shared_ptr<Snapshot> snapshot_ = std::make_shared<Snapshot>();
};

}  // namespace hearth::catalog
