// Runs of whole pages in the plain space of a pack: the unit of presence in a node's cache.
#pragma once

#include "image/layer_index.hpp"

#include <algorithm>
#include <cstdint>

namespace hearth::mount {

using image::kBlockBytes;
using image::kPageBytes;

/// Bytes, both multiples of kPageBytes.
struct PageRange {
  uint64_t offset = 0;
  uint64_t length = 0;
  uint64_t end() const { return offset + length; }
  bool operator==(const PageRange&) const = default;
};

/// The pages that hold these bytes.
inline PageRange pages_of(uint64_t offset, uint64_t length) {
  const uint64_t begin = offset / kPageBytes * kPageBytes;
  return {begin, image::round_up_to_page(offset + length) - begin};
}

/// What two ranges share; length 0 when nothing.
inline PageRange overlap(const PageRange& a, const PageRange& b) {
  const uint64_t begin = std::max(a.offset, b.offset);
  const uint64_t end = std::min(a.end(), b.end());
  return {begin, end > begin ? end - begin : 0};
}

}  // namespace hearth::mount
