// The blocks of one directory as EROFS stores them: names in byte order, "." and ".." among them, each block complete
// in itself.
#pragma once

#include "image/layer_index.hpp"

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::image::erofs {

/// Walks a directory block by block. `while (blocks.next()) …`; the index must outlive it.
class DirectoryBlocks {
 public:
  DirectoryBlocks(const LayerIndex& index, const InodeView& directory);

  /// Fills the next block; false at the end.
  bool next();
  /// Bytes used in it, at most a block.
  uint32_t bytes() const { return bytes_; }
  /// Appends exactly that many. `nid_of` gives the EROFS number of an inode.
  void append_to(std::string& out, const std::function<uint64_t(uint32_t inode)>& nid_of) const;

 private:
  EntryView peek() const;
  void advance();

  const LayerIndex& index_;
  InodeView directory_;
  uint32_t next_entry_ = 0;
  uint32_t next_dot_ = 0;  // 0 ".", 1 "..", 2 both are out
  std::vector<EntryView> block_;
  uint32_t bytes_ = 0;
};

/// Size of the directory: whole blocks, and what is used of the last one.
uint64_t directory_bytes(const LayerIndex& index, const InodeView& directory);

}  // namespace hearth::image::erofs
