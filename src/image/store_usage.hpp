// Where the bytes of a store are: by kind, by model, and what sharing saves.
#pragma once

#include "base/digest.hpp"
#include "base/result.hpp"
#include "blob/object_store.hpp"
#include "image/garbage_collector.hpp"
#include "image/garbage_plan.hpp"
#include "image/store_check.hpp"
#include "image/store_scope.hpp"
#include "image/store_survey.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::image {

/// What lies in a scope by the folder it lies in ("packs", "models", …), and what of it nothing needs.
struct ScopeUsage {
  std::string name;  // "ws/<w>" or "shared"
  std::map<std::string, Tally> kinds;
  Tally total;
  Tally garbage;  // of what is collectable
};

/// One owner of layers: a model with all its versions, or an image name.
struct OwnerUsage {
  std::string name;            // "model digits", "image python"
  uint64_t versions = 0;       // 1 for an image name
  uint64_t content_bytes = 0;  // sum over its versions of the plain bytes of all their files
  uint64_t stored_bytes = 0;   // of the indexes and packs it needs, each once
  uint64_t own_bytes = 0;      // of those that no other owner here needs
};

struct StoreUsage {
  std::vector<ScopeUsage> scopes;
  std::vector<OwnerUsage> owners;  // by name
  uint64_t content_bytes = 0;      // of all owners: what would lie in the store without sharing and compression
  uint64_t stored_bytes = 0;       // of what all of them need, each object once
};

/// One use of a layer by a version (or an image name).
struct OwnedLayer {
  std::string owner;
  uint32_t version = 0;
  Digest layer;
};

/// Pure. Layers are looked up in `scope`, then in `shared`; `objects` are of both.
void account_owners(const StoreScope& scope, const std::vector<StoredObject>& objects,
                    const std::vector<OwnedLayer>& layers, StoreUsage& usage);
/// Pure. All objects of one scope, by the first part of their keys behind it; garbage by the picture.
ScopeUsage account_scope(const StoreScope& scope, const std::vector<blob::ObjectInfo>& all,
                         const StorePicture& picture);

}  // namespace hearth::image
