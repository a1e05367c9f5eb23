// Writes the bytes of a plain layer index (docs/formats/layer.md, version 2) from a tree and the places of its chunks.
#pragma once

#include "base/digest.hpp"
#include "base/result.hpp"
#include "image/file_tree.hpp"
#include "image/layer_index.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace hearth::image {

/// What the ChunkWriter knows when it is finished.
struct ChunkTable {
  std::vector<uint32_t> of_ticket;  // ticket → number in `chunks`
  std::vector<ChunkInfo> chunks;    // all different
  std::vector<Digest> blocks;       // of the chunks that are longer than kBlockBytes, in the order of `chunks`
  std::vector<ChunkLocation> locations;
  std::vector<PackInfo> packs;
};

struct EncodedLayer {
  std::string bytes;  // plain; pack_index makes of it what is stored
  Digest digest;      // of the tree part
};

/// Extents must be made of pages (see Extent). Deterministic: equal trees give equal tree parts and digests, however
/// the chunks were packed. exhausted when a table would need more than 32-bit numbers or the index more than
/// kMaxIndexBytes.
Result<EncodedLayer> encode_layer(const FileTree& tree, const ChunkTable& chunks);

}  // namespace hearth::image
