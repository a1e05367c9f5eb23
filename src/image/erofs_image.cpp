#include "image/erofs_image.hpp"

#include "base/file.hpp"
#include "base/little_endian.hpp"
#include "image/erofs_directory.hpp"
#include "image/erofs_format.hpp"
#include "image/erofs_layout.hpp"
#include "image/erofs_superblock.hpp"
#include "image/erofs_xattrs.hpp"

#include <string>

namespace hearth::image {

namespace {

namespace inode_at = erofs::inode;
using erofs::Areas;
using erofs::DataLayout;
using erofs::InodeShape;
using erofs::kBlockBytes;

constexpr size_t kBufferBytes = size_t{1} << 20;

/// Bytes on their way to the file.
class ImageStream {
 public:
  explicit ImageStream(int fd) : fd_(fd) {}

  std::string& buffer() { return buffer_; }
  uint64_t offset() const { return written_ + buffer_.size(); }
  void pad_to(uint64_t offset) { buffer_.resize(offset - written_, '\0'); }
  Result<> flush_when_full() { return buffer_.size() < kBufferBytes ? Result<>{} : flush(); }
  Result<> flush() {
    TRY_VOID(write_all(fd_, buffer_, "an EROFS image"));
    written_ += buffer_.size();
    buffer_.clear();
    return {};
  }

 private:
  int fd_;
  std::string buffer_;
  uint64_t written_ = 0;
};

/// As the kernel keeps device numbers of 12 and 20 bits.
uint32_t encode_device(const Device& device) {
  return (device.minor & 0xFF) | (device.major << 8) | ((device.minor & ~0xFFU) << 12);
}

class ImageWriter {
 public:
  ImageWriter(const LayerIndex& index, const erofs::Xattrs& xattrs, const erofs::Layout& layout, int fd)
      : index_(index), xattrs_(xattrs), layout_(layout), out_(fd) {}

  Result<uint64_t> run() {
    areas_ = plan_areas();
    out_.buffer() += erofs::encode_head(index_, areas_, layout_.nid(0));
    out_.buffer() += xattrs_.shared_area();
    TRY_VOID(write_inodes());
    TRY_VOID(write_data());
    TRY_VOID(out_.flush());
    return out_.offset();
  }

 private:
  Areas plan_areas() const {
    const auto blocks = [](uint64_t bytes) {
      return static_cast<uint32_t>(erofs::round_up(bytes, kBlockBytes) / kBlockBytes);
    };
    Areas areas;
    areas.xattrs = erofs::head_blocks(index_.pack_count());
    areas.inodes = areas.xattrs + blocks(xattrs_.shared_area().size());
    areas.data = areas.inodes + blocks(layout_.inode_area_bytes());
    areas.end = areas.data + static_cast<uint32_t>(layout_.data_blocks());
    return areas;
  }

  Result<> write_inodes() {
    const uint64_t begin = uint64_t{areas_.inodes} * kBlockBytes;
    uint32_t data_block = areas_.data;
    for (uint32_t number = 0; number < index_.inode_count(); ++number) {
      const InodeView inode = index_.inode(number);
      const InodeShape shape = erofs::shape_of(index_, xattrs_, inode);
      out_.pad_to(begin + layout_.offset(number));
      append_inode(inode, shape, data_block);
      data_block += static_cast<uint32_t>(shape.blocks);
      xattrs_.append_body(inode, out_.buffer());
      if (shape.layout == DataLayout::inlined) TRY_VOID(write_content(inode));
      if (shape.layout == DataLayout::chunks) TRY_VOID(write_chunk_indexes(inode, shape));
      TRY_VOID(out_.flush_when_full());
    }
    out_.pad_to(uint64_t{areas_.data} * kBlockBytes);
    return {};
  }

  void append_inode(const InodeView& inode, const InodeShape& shape, uint32_t data_block) {
    char record[inode_at::kBytes] = {};
    const auto layout = static_cast<uint16_t>(static_cast<uint16_t>(shape.layout) << inode_at::kLayoutShift);
    store_le(record + inode_at::kFormatAt, static_cast<uint16_t>(inode_at::kExtended | layout));
    store_le(record + inode_at::kXattrCountAt, xattr_count(shape));
    store_le(record + inode_at::kModeAt, static_cast<uint16_t>(oci::type_bits(inode.type) | inode.mode));
    store_le(record + inode_at::kSizeAt, shape.size);
    store_le(record + inode_at::kUnionAt, union_field(inode, shape, data_block));
    store_le(record + inode_at::kNumberAt, inode.number + 1);
    store_le(record + inode_at::kUidAt, inode.uid);
    store_le(record + inode_at::kGidAt, inode.gid);
    store_le(record + inode_at::kSecondsAt, inode.mtime.seconds);  // the kernel reads it as signed
    store_le(record + inode_at::kNanosecondsAt, inode.mtime.nanoseconds);
    store_le(record + inode_at::kLinksAt, inode.links);
    out_.buffer().append(record, sizeof record);
  }

  static uint16_t xattr_count(const InodeShape& shape) {
    if (shape.xattr_bytes == 0) return 0;
    return static_cast<uint16_t>((shape.xattr_bytes - erofs::xattr::kBodyHeaderBytes) / erofs::xattr::kIdBytes + 1);
  }

  static uint32_t union_field(const InodeView& inode, const InodeShape& shape, uint32_t data_block) {
    if (shape.layout == DataLayout::chunks) return erofs::chunk::kWithIndexes | (shape.chunk_bits - erofs::kBlockBits);
    if (shape.blocks > 0) return data_block;
    return encode_device(inode.device);
  }

  /// Of a directory or symlink.
  Result<> write_content(const InodeView& inode) {
    if (inode.type == FileType::symlink) {
      out_.buffer() += inode.target;
      return {};
    }
    erofs::DirectoryBlocks blocks(index_, inode);
    const uint64_t begin = out_.offset();
    for (uint64_t done = 0; blocks.next(); ++done) {
      out_.pad_to(begin + done * kBlockBytes);
      blocks.append_to(out_.buffer(), [this](uint32_t number) { return layout_.nid(number); });
      TRY_VOID(out_.flush_when_full());
    }
    return {};
  }

  /// A chunk is a hole, or lies in one extent: that is how the chunk size was chosen.
  Result<> write_chunk_indexes(const InodeView& file, const InodeShape& shape) {
    out_.pad_to(erofs::round_up(out_.offset(), erofs::chunk::kIndexBytes));
    uint32_t i = 0;
    Extent extent = file.count > 0 ? index_.extent(file, 0) : Extent{};
    for (uint64_t chunk = 0; chunk < shape.chunks; ++chunk) {
      const uint64_t at = chunk << shape.chunk_bits;
      while (i < file.count && extent.offset + extent.length <= at) {
        if (++i < file.count) extent = index_.extent(file, i);
      }
      append_chunk_index(i < file.count && extent.offset <= at ? &extent : nullptr, at);
      TRY_VOID(out_.flush_when_full());
    }
    return {};
  }

  void append_chunk_index(const Extent* extent, uint64_t at) {
    char record[erofs::chunk::kIndexBytes] = {};
    if (extent == nullptr) {
      store_le(record + erofs::chunk::kBlockAt, erofs::kNullAddress);
    } else {
      const ChunkLocation place = index_.location(extent->chunk);
      const uint64_t block = (place.plain_offset + (at - extent->offset)) / kBlockBytes;
      store_le(record + erofs::chunk::kDeviceAt, static_cast<uint16_t>(place.pack + 1));
      store_le(record + erofs::chunk::kBlockAt, static_cast<uint32_t>(block));
    }
    out_.buffer().append(record, sizeof record);
  }

  Result<> write_data() {
    for (const uint32_t number : layout_.with_blocks()) {
      TRY_VOID(write_content(index_.inode(number)));
      out_.pad_to(erofs::round_up(out_.offset(), kBlockBytes));
      TRY_VOID(out_.flush_when_full());
    }
    return {};
  }

  const LayerIndex& index_;
  const erofs::Xattrs& xattrs_;
  const erofs::Layout& layout_;
  Areas areas_;
  ImageStream out_;
};

}  // namespace

Result<uint64_t> write_erofs(const LayerIndex& index, int fd) {
  if (!index.is_page_mapped()) {
    return fail(ErrorCode::invalid_argument, "the index of layer " + index.digest().to_string() +
                                                 " is of version 1, which can only be unpacked: deploy again");
  }
  if (index.pack_count() > erofs::kMaxDevices) {
    return fail(ErrorCode::exhausted, "the layer lies in more packs than EROFS has devices");
  }
  TRY(const auto xattrs, erofs::Xattrs::plan(index));
  TRY(const auto layout, erofs::Layout::plan(index, xattrs));
  return ImageWriter(index, xattrs, layout, fd).run();
}

}  // namespace hearth::image
