// The chunks of one pack that its registered layers speak of, as one table in the order of the pack.
#pragma once

#include "base/result.hpp"
#include "image/store_scope.hpp"
#include "mount/layer_chunks.hpp"
#include "mount/page_range.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace hearth::mount {

/// Not thread-safe. Memory: eight bytes a chunk, however many layers share it.
class PackChunks {
 public:
  /// Takes in what a layer says of its pack number `pack`. A layer may be added several times, and is then to be
  /// removed as often. corrupt, and nothing is changed, when it contradicts a layer that is registered: one of them is
  /// wrong.
  Result<> add(std::shared_ptr<const LayerChunks> layer, uint32_t pack);
  void remove(const LayerChunks& layer);

  size_t layer_count() const;

  /// Those with bytes in the range, in order.
  std::vector<PackChunk> overlapping(const PageRange& range) const;
  /// Whether every page of the range belongs to a chunk.
  bool covers(const PageRange& range) const;
  /// visit(PageRange): the pages of each chunk in the range, cut to the range.
  template <class Visit>
  void for_each_overlap(const PageRange& range, const Visit& visit) const {
    for (size_t i = first_ending_after(range.offset); i < refs_.size(); ++i) {
      const PageRange shared = overlap(pages(refs_[i]), range);
      if (shared.length == 0) return;
      visit(shared);
    }
  }
  /// Where the layers' workspaces may read the pack; `shared` is last.
  std::vector<image::StoreScope> scopes() const;

 private:
  struct Ref {
    uint32_t slot = 0;  // in layers_
    uint32_t chunk = 0;
  };
  struct Registered {
    std::shared_ptr<const LayerChunks> layer;  // empty: the slot is free
    uint32_t pack = 0;
    uint32_t times = 0;
  };

  /// What one layer says of one chunk.
  struct Place {
    image::ChunkLocation at;
    image::ChunkInfo chunk;
    uint64_t plain_end() const { return image::round_up_to_page(at.plain_offset + chunk.length); }
    uint64_t stored_end() const { return at.offset + at.stored_length; }
    bool agrees_with(const Place& other) const;
  };

  uint64_t plain_offset(const Ref& ref) const;
  Place place(const Ref& ref) const;
  PageRange pages(const Ref& ref) const;
  PackChunk chunk(const Ref& ref) const;
  size_t first_ending_after(uint64_t offset) const;
  Result<std::vector<Ref>> merged_with(uint32_t slot) const;
  Unexpected contradiction(const Ref& a, const Ref& b) const;

  std::vector<Ref> refs_;  // by plain offset; no two overlap
  std::vector<Registered> layers_;
};

}  // namespace hearth::mount
