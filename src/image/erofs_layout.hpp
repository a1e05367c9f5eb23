// Where each inode of a layer lies in its EROFS image, and what it needs there. A function of the tree alone: the same
// layer has the same inode numbers on every node, however its packs were made.
#pragma once

#include "base/result.hpp"
#include "image/erofs_format.hpp"
#include "image/erofs_xattrs.hpp"
#include "image/layer_index.hpp"

#include <cstdint>
#include <vector>

namespace hearth::image::erofs {

/// What one inode takes.
struct InodeShape {
  DataLayout layout = DataLayout::plain;
  uint32_t xattr_bytes = 0;
  uint64_t size = 0;        // as stat shows it: of a directory the bytes of its blocks
  uint32_t chunk_bits = 0;  // chunks: log2 of the chunk size
  uint64_t chunks = 0;
  uint64_t bytes = 0;   // in the inode area: inode, xattrs, then inline data or chunk indexes
  uint64_t blocks = 0;  // in the data area: a directory or symlink that is too long to be inline
};

InodeShape shape_of(const LayerIndex& index, const Xattrs& xattrs, const InodeView& inode);

/// log2 of the largest chunk size, up to kChunkBytes, at which no chunk of the file is part data and part hole. A file
/// without data is one chunk.
uint32_t chunk_bits_of(const LayerIndex& index, const InodeView& file);

/// Memory: four bytes an inode.
class Layout {
 public:
  /// exhausted when the image would be larger than its limits; the message says which inode asks for too much.
  static Result<Layout> plan(const LayerIndex& index, const Xattrs& xattrs);

  /// Bytes from the begin of the inode area; ascending with the number.
  uint64_t offset(uint32_t inode) const { return uint64_t{slots_[inode]} * kSlotBytes; }
  /// The EROFS number of an inode, which is its st_ino.
  uint64_t nid(uint32_t inode) const { return kFirstNid + slots_[inode]; }

  uint64_t inode_area_bytes() const { return inode_area_bytes_; }
  uint64_t data_blocks() const { return data_blocks_; }
  /// Inodes with blocks in the data area, in the order of the area.
  const std::vector<uint32_t>& with_blocks() const { return with_blocks_; }

  /// Of the root. The area is said to begin a block earlier than it does, so that no inode has number 0, which
  /// readdir(3) of some C libraries leaves out.
  static constexpr uint64_t kFirstNid = kBlockBytes / kSlotBytes;

 private:
  Layout() = default;

  std::vector<uint32_t> slots_;
  std::vector<uint32_t> with_blocks_;
  uint64_t inode_area_bytes_ = 0;
  uint64_t data_blocks_ = 0;
};

}  // namespace hearth::image::erofs
