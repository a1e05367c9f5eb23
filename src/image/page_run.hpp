// Runs of pages of a layer's content: what starts read, what profiles remember and what bundles hold.
#pragma once

#include "image/layer_index.hpp"

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

namespace hearth::image {

inline constexpr uint32_t kPagesPerChunk = kChunkBytes / kPageBytes;

/// Pages of one chunk: page p is the plain bytes [p * kPageBytes, (p + 1) * kPageBytes) of the chunk; its last page may
/// be shorter and counts as a whole one, padded with zeros.
struct PageRun {
  uint32_t chunk = 0;  // number in the layer's chunk table
  uint16_t first = 0;  // page in the chunk
  uint16_t pages = 0;  // 1 .. kPagesPerChunk - first
  auto operator<=>(const PageRun&) const = default;
};

/// In an order that means something: the order of first access, or of a bundle.
using PageRuns = std::vector<PageRun>;

inline constexpr uint64_t bytes_of(const PageRun& run) {
  return uint64_t{run.pages} * kPageBytes;
}
uint64_t bytes_of(const PageRuns& runs);

inline constexpr bool is_valid(const PageRun& run) {
  return run.pages > 0 && uint32_t{run.first} + run.pages <= kPagesPerChunk;
}

/// The runs lie in chunks of this layer and within their lengths.
bool fits(const PageRuns& runs, const LayerIndex& index);

/// Any set of pages of a layer. Memory: 40 bytes or so a chunk that has a page in it.
class PageSet {
 public:
  PageSet() = default;
  explicit PageSet(const PageRuns& runs) {
    for (const PageRun& run : runs) insert(run);
  }

  /// Appends to `added` (if any) the parts that were not in the set.
  void insert(const PageRun& run, PageRuns* added = nullptr);
  bool contains(uint32_t chunk, uint32_t page) const;
  /// Pages of the run that are in the set.
  uint32_t count(const PageRun& run) const;

  uint64_t pages() const { return pages_; }
  uint64_t bytes() const { return pages_ * kPageBytes; }
  uint64_t pages_in_both(const PageSet& other) const;

 private:
  using Bits = std::array<uint64_t, kPagesPerChunk / 64>;
  std::unordered_map<uint32_t, Bits> chunks_;
  uint64_t pages_ = 0;
};

}  // namespace hearth::image
