// One layer on this node: its index, and the files of its packs, registered as long as this object lives.
#pragma once

#include "base/result.hpp"
#include "image/layer_index.hpp"
#include "mount/disk_cache.hpp"
#include "mount/layer_chunks.hpp"
#include "mount/pack_file.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace hearth::mount {

/// Immutable, shared by threads. What is in use by a CachedLayer is not evicted.
class CachedLayer {
 public:
  /// Opens the files of all its packs. To adopt descriptors from an earlier life, give them
  /// to DiskCache::pack first and keep what it returns until here. invalid_argument for an index that cannot be mapped
  /// by pages; corrupt when it contradicts another layer; else DiskCache::pack's errors.
  static Result<std::shared_ptr<CachedLayer>> open(DiskCache& cache, std::shared_ptr<const image::LayerIndex> index,
                                                   std::string workspace);
  ~CachedLayer();
  CachedLayer(const CachedLayer&) = delete;
  CachedLayer& operator=(const CachedLayer&) = delete;

  const image::LayerIndex& index() const { return chunks_->index(); }
  const std::shared_ptr<const LayerChunks>& chunks() const { return chunks_; }
  const std::string& workspace() const { return chunks_->workspace(); }
  /// The file of a pack by its number in the index.
  const std::shared_ptr<PackFile>& pack(uint32_t number) const { return packs_[number]; }
  /// Where a chunk's bytes are: `pack(index().location(chunk).pack)` at `.plain_offset`.

  /// Every chunk of every pack is present (of other layers in these packs, too).
  bool complete() const;
  /// Plain bytes of this layer's packs' registered chunks that are not present.
  uint64_t missing_bytes() const;

 private:
  explicit CachedLayer(std::shared_ptr<const LayerChunks> chunks) : chunks_(std::move(chunks)) {}

  std::shared_ptr<const LayerChunks> chunks_;
  std::vector<std::shared_ptr<PackFile>> packs_;
};

}  // namespace hearth::mount
