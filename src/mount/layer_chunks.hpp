// Which chunks of a layer lie in which pack, in the order of the packs: what the node's cache asks an index all the
// time.
#pragma once

#include "base/digest.hpp"
#include "image/layer_index.hpp"
#include "mount/page_range.hpp"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace hearth::mount {

/// Immutable, shared by threads. Memory: four bytes a chunk beside the index.
class LayerChunks {
 public:
  /// The index must be page-mapped (version 2). `workspace`: in whose name the layer is read.
  LayerChunks(std::shared_ptr<const image::LayerIndex> index, std::string workspace);

  const image::LayerIndex& index() const { return *index_; }
  const std::string& workspace() const { return workspace_; }
  /// Numbers of the chunks in that pack of the layer, by plain offset (which is the order in the pack, too).
  std::span<const uint32_t> in_pack(uint32_t pack) const {
    return std::span(order_).subspan(starts_[pack], starts_[pack + 1] - starts_[pack]);
  }

 private:
  std::shared_ptr<const image::LayerIndex> index_;
  std::string workspace_;
  std::vector<uint32_t> order_;
  std::vector<uint32_t> starts_;  // of each pack in order_, and the end
};

/// One chunk in a pack. Keeps the index alive that it was found in.
struct PackChunk {
  std::shared_ptr<const LayerChunks> layer;
  uint32_t number = 0;        // in that layer
  uint64_t plain_offset = 0;  // in the pack's plain space
  uint32_t length = 0;        // plain bytes
  uint64_t stored_offset = 0;
  uint32_t stored_length = 0;
  image::ChunkEncoding encoding = image::ChunkEncoding::raw;
  Digest digest;  // of the plain bytes

  PageRange pages() const { return pages_of(plain_offset, length); }
  uint64_t stored_end() const { return stored_offset + stored_length; }
  uint32_t block_count() const { return layer->index().block_count(number); }
  Digest block_digest(uint32_t i) const { return layer->index().block(number, i); }
  /// The pages of block `i`.
  PageRange block_pages(uint32_t i) const {
    return overlap(pages(), {plain_offset + uint64_t{i} * kBlockBytes, kBlockBytes});
  }
};

PackChunk pack_chunk(std::shared_ptr<const LayerChunks> layer, uint32_t number);

}  // namespace hearth::mount
