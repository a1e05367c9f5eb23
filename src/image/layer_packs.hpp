// Which packs a layer refers to, from the end of its index alone: what storage accounting and garbage collection need,
// without reading the tree.
#pragma once

#include "base/digest.hpp"
#include "base/result.hpp"
#include "blob/object_store.hpp"

#include <cstdint>
#include <string_view>
#include <vector>

namespace hearth::image {

struct LayerPacks {
  struct Pack {
    Digest digest;
    uint64_t size = 0;  // bytes of the object
    bool operator==(const Pack&) const = default;
  };
  std::vector<Pack> packs;
  uint64_t content_bytes = 0;  // plain bytes of all files, as the index says
};

/// The table of places, from its magic to its checksum (docs/formats/layer.md, versions 1 to 3). Total: any bytes may
/// come; corrupt with the first rule that is broken. Where chunks lie is not looked at.
Result<std::vector<LayerPacks::Pack>> decode_pack_list(std::string_view places);

/// Two small reads of the index object. not_found when it is gone; corrupt when it is no index.
Result<LayerPacks> read_layer_packs(blob::ObjectStore& store, const blob::ObjectInfo& index);

}  // namespace hearth::image
