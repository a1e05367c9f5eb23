// From content back to files: which file of a layer a chunk belongs to, and what its path is.
#pragma once

#include "base/result.hpp"
#include "image/layer_index.hpp"
#include "image/page_run.hpp"
#include "mount/directory_cache.hpp"
#include "mount/layer_chunks.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace hearth::mount {

/// Immutable, shared by threads. Memory: 8 bytes a chunk and 8 an inode; made in one pass over the index.
class ContentOwners {
 public:
  /// exhausted as InodePlaces::of.
  static Result<ContentOwners> of(std::shared_ptr<const LayerChunks> layer);

  const image::LayerIndex& index() const { return layer_->index(); }
  const LayerChunks& chunks() const { return *layer_; }
  const std::shared_ptr<const LayerChunks>& shared_chunks() const { return layer_; }

  /// The first file, in the order of inodes, that has the chunk, and which of its extents that is. Equal files share
  /// chunks: this says one of them.
  struct Owner {
    uint32_t inode = 0;
    uint32_t extent = 0;
  };
  std::optional<Owner> owner(uint32_t chunk) const;

  /// Directory that has the file's first name, and that name.
  uint32_t directory(uint32_t inode) const { return places_.directory(inode); }
  std::string_view name(uint32_t inode) const { return places_.name(index(), inode); }
  /// "/usr/bin/python3"; bytes as in the image.
  std::string path(uint32_t inode) const;

 private:
  ContentOwners(std::shared_ptr<const LayerChunks> layer, InodePlaces places)
      : layer_(std::move(layer)), places_(std::move(places)) {}

  std::shared_ptr<const LayerChunks> layer_;
  InodePlaces places_;
  std::vector<Owner> owners_;  // by chunk
};

/// The first extent of a regular file that ends behind the offset; the file's count when none does.
uint32_t first_extent_behind(const image::LayerIndex& index, const image::InodeView& file, uint64_t offset);
/// The chunk of the layer that has this byte of a pack's plain space (padding after a chunk counts as its own).
std::optional<uint32_t> chunk_at(const LayerChunks& layer, uint32_t pack, uint64_t offset);
/// The pages of a range of a pack's plain space, chunk by chunk; what lies between the layer's chunks is left out.
image::PageRuns runs_at(const LayerChunks& layer, uint32_t pack, const PageRange& range);

}  // namespace hearth::mount
