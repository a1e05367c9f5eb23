// The rules of docs/formats/layer.md, checked once when an index is decoded, so that no reader of it has to.
#pragma once

#include "base/result.hpp"
#include "image/layer_index.hpp"

#include <cstdint>
#include <string_view>
#include <vector>

namespace hearth::image {

/// One pass over all tables; memory: four bytes an inode, 16 bytes a chunk. The layout has been checked before.
class IndexValidator {
 public:
  explicit IndexValidator(const LayerIndex& index) : index_(index) {}
  Result<> run();

 private:
  Result<> check_inode(const InodeView& inode);
  Result<> check_attributes(const InodeView& inode) const;
  Result<> check_directory(const InodeView& directory);
  Result<> check_entry(const InodeView& directory, const EntryView& entry);
  Result<> check_file(const InodeView& file);
  Result<> check_symlink(const InodeView& link) const;
  Result<> check_xattrs(const InodeView& inode);
  Result<> check_texts() const;
  Result<> check_blocks() const;
  Result<> check_places() const;
  Result<> check_place(uint32_t chunk) const;
  Result<> check_plain_space() const;
  bool text_is_inside(uint64_t offset, uint64_t length) const;
  Unexpected broken(const InodeView& inode, std::string_view rule) const;

  const LayerIndex& index_;
  std::vector<uint32_t> names_;  // how many names of each inode were seen
  // Tables are used up in the order of the inodes: what comes next in each.
  uint32_t next_inode_ = 1;
  uint32_t next_entry_ = 0;
  uint32_t next_extent_ = 0;
  uint32_t next_xattr_ = 0;
  uint32_t next_chunk_ = 0;
  uint64_t content_bytes_ = 0;
};

}  // namespace hearth::image
