#include "image/erofs_layout.hpp"

#include "image/erofs_directory.hpp"

#include <algorithm>
#include <bit>
#include <string>

namespace hearth::image::erofs {

namespace {

/// A mount writes the image, so it must stay small beside the content. Ten million files need less.
constexpr uint64_t kMaxImageBytes = uint64_t{4} << 30;
/// Eight bytes a chunk: large sparse files with data at odd places need many.
constexpr uint64_t kMaxChunkIndexBytes = uint64_t{256} << 20;

/// Behind `end`, at a slot; in one block what fits into a block, so that inline data never crosses and reading an inode
/// is reading one page.
uint64_t place_after(uint64_t end, const InodeShape& shape) {
  const uint64_t at = round_up(end, kSlotBytes);
  const uint64_t left = kBlockBytes - at % kBlockBytes;
  const uint64_t together = shape.bytes <= kBlockBytes ? shape.bytes : inode::kBytes;
  return together <= left ? at : at + left;
}

void shape_inline_or_plain(InodeShape& shape) {
  const uint64_t inlined = inode::kBytes + shape.xattr_bytes + shape.size;
  if (inlined <= kBlockBytes) {
    shape.layout = DataLayout::inlined;
    shape.bytes = inlined;
  } else {
    shape.blocks = round_up(shape.size, kBlockBytes) / kBlockBytes;
  }
}

void shape_chunks(const LayerIndex& index, const InodeView& file, InodeShape& shape) {
  shape.layout = DataLayout::chunks;
  shape.chunk_bits = chunk_bits_of(index, file);
  shape.chunks = ((file.size - 1) >> shape.chunk_bits) + 1;
  shape.bytes = round_up(shape.bytes, chunk::kIndexBytes) + shape.chunks * chunk::kIndexBytes;
}

}  // namespace

uint32_t chunk_bits_of(const LayerIndex& index, const InodeView& file) {
  if (file.count == 0) {
    return std::clamp<uint32_t>(static_cast<uint32_t>(std::bit_width(file.size - 1)), kBlockBits, chunk::kMaxBits);
  }
  uint64_t edges = kChunkBytes;  // where data begins or ends: the chunk size divides each
  for (uint32_t i = 0; i < file.count; ++i) {
    const Extent extent = index.extent(file, i);
    const uint64_t end = extent.offset + extent.length;
    edges |= extent.offset;
    if (end != file.size) edges |= end;
  }
  return static_cast<uint32_t>(std::countr_zero(edges));
}

InodeShape shape_of(const LayerIndex& index, const Xattrs& xattrs, const InodeView& inode) {
  InodeShape shape;
  shape.xattr_bytes = xattrs.body_bytes(inode);
  shape.bytes = inode::kBytes + shape.xattr_bytes;
  if (inode.type == FileType::directory) {
    shape.size = directory_bytes(index, inode);
    shape_inline_or_plain(shape);
  } else if (inode.type == FileType::symlink) {
    shape.size = inode.size;
    shape_inline_or_plain(shape);
  } else if (inode.type == FileType::regular) {
    shape.size = inode.size;
    if (inode.size > 0) shape_chunks(index, inode, shape);
  }
  return shape;
}

Result<Layout> Layout::plan(const LayerIndex& index, const Xattrs& xattrs) {
  Layout layout;
  layout.slots_.reserve(index.inode_count());
  uint64_t chunks = 0;
  for (uint32_t number = 0; number < index.inode_count(); ++number) {
    const InodeShape shape = shape_of(index, xattrs, index.inode(number));
    const uint64_t at = place_after(layout.inode_area_bytes_, shape);
    layout.slots_.push_back(static_cast<uint32_t>(at / kSlotBytes));
    layout.inode_area_bytes_ = at + shape.bytes;
    layout.data_blocks_ += shape.blocks;
    if (shape.blocks > 0) layout.with_blocks_.push_back(number);
    chunks += shape.chunks;
    const auto too_much = [number](std::string_view what) {
      return fail(ErrorCode::exhausted,
                  "inode " + std::to_string(number) + ": " + std::string(what) + " for an EROFS image");
    };
    if (chunks * chunk::kIndexBytes > kMaxChunkIndexBytes) return too_much("the sparse files are too large");
    if (layout.inode_area_bytes_ + layout.data_blocks_ * kBlockBytes > kMaxImageBytes)
      return too_much("the tree is too large");
  }
  return layout;
}

}  // namespace hearth::image::erofs
