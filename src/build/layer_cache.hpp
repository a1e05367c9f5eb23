// Layers that builds remember: ws/<w>/build-cache/<hex>.json names the layer that was once built from the same.
#pragma once

#include "base/digest.hpp"
#include "base/result.hpp"
#include "blob/object_store.hpp"

#include <optional>
#include <string_view>
#include <vector>

namespace hearth::build {

struct CachedLayer {
  blob::ObjectInfo object;
  std::optional<Digest> layer;  // nothing when the entry cannot be read: it is of no use
};

/// All of a workspace.
Result<std::vector<CachedLayer>> list_cached(blob::ObjectStore& store, std::string_view workspace);

}  // namespace hearth::build
