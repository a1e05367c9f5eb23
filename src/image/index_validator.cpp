#include "image/index_validator.hpp"

#include "base/little_endian.hpp"
#include "image/layer_format.hpp"

#include <algorithm>

namespace hearth::image {

namespace {

constexpr uint64_t kMaxFileBytes = uint64_t{8} << 40;
constexpr std::string_view kOverlayXattrs = "trusted.overlay.";

bool is_name(std::string_view name) {
  return !name.empty() && name.size() <= oci::kMaxNameBytes && name != "." && name != ".." && !name.contains('/') &&
         !name.contains('\0');
}

bool is_device(FileType type) {
  return type == FileType::character_device || type == FileType::block_device;
}

/// Whole pages of the file, the last of which may be cut by its end.
bool is_mappable(const Extent& extent, uint64_t file_size) {
  const bool ends_the_file = extent.offset + extent.length == file_size;
  return extent.offset % kPageBytes == 0 && (extent.length % kPageBytes == 0 || ends_the_file);
}

Unexpected wrong(std::string_view what) {
  return fail(ErrorCode::corrupt, "layer index: " + std::string(what));
}

}  // namespace

Unexpected IndexValidator::broken(const InodeView& inode, std::string_view rule) const {
  return fail(ErrorCode::corrupt, "layer index: inode " + std::to_string(inode.number) + ": " + std::string(rule));
}

bool IndexValidator::text_is_inside(uint64_t offset, uint64_t length) const {
  return length <= index_.strings_bytes_ && offset <= index_.strings_bytes_ - length;
}

Result<> IndexValidator::run() {
  if (index_.inode_count_ == 0) return fail(ErrorCode::corrupt, "layer index: no root");
  TRY_VOID(check_texts());
  names_.assign(index_.inode_count_, 0);
  for (uint32_t number = 0; number < index_.inode_count_; ++number) {
    const InodeView inode = index_.inode(number);
    if (number >= next_inode_) return broken(inode, "no name leads to it");
    TRY_VOID(check_inode(inode));
  }
  if (next_entry_ != index_.entry_count_ || next_extent_ != index_.extent_count_ ||
      next_xattr_ != index_.xattr_count_ || next_chunk_ != index_.chunk_count_ ||
      content_bytes_ != index_.content_bytes_) {
    return fail(ErrorCode::corrupt, "layer index: the tables hold more than the inodes use");
  }
  for (uint32_t number = 0; number < index_.inode_count_; ++number) {
    const InodeView inode = index_.inode(number);
    if (inode.type != FileType::directory && inode.links != names_[number])
      return broken(inode, "wrong number of links");
  }
  TRY_VOID(check_blocks());
  return check_places();
}

/// Offsets of texts, before anything follows one.
Result<> IndexValidator::check_texts() const {
  const std::string_view all = index_.bytes_;
  const auto outside = [] { return fail(ErrorCode::corrupt, "layer index: a text beyond the end"); };
  for (uint64_t i = 0; i < index_.entry_count_; ++i) {
    const uint64_t at = index_.entries_ + i * format::kEntryBytes;
    if (!text_is_inside(load_le<uint32_t>(all, at + 4), load_le<uint16_t>(all, at + 8))) return outside();
    if (load_le<uint8_t>(all, at + 11) != 0) return fail(ErrorCode::corrupt, "layer index: reserved byte of an entry");
  }
  for (uint64_t i = 0; i < index_.xattr_count_; ++i) {
    const uint64_t at = index_.xattrs_ + i * format::kXattrBytes;
    if (!text_is_inside(load_le<uint32_t>(all, at), load_le<uint16_t>(all, at + 12)) ||
        !text_is_inside(load_le<uint32_t>(all, at + 4), load_le<uint32_t>(all, at + 8))) {
      return outside();
    }
    if (load_le<uint16_t>(all, at + 14) != 0)
      return fail(ErrorCode::corrupt, "layer index: reserved bytes of an xattr");
  }
  for (uint64_t i = 0; i < index_.inode_count_; ++i) {
    const uint64_t at = format::kHeaderBytes + i * format::kInodeBytes;
    if (load_le<uint8_t>(all, at + format::inode::kTypeAt) != static_cast<uint8_t>(FileType::symlink)) continue;
    if (!text_is_inside(load_le<uint32_t>(all, at + format::inode::kFirstAt),
                        load_le<uint32_t>(all, at + format::inode::kCountAt))) {
      return outside();
    }
  }
  return {};
}

Result<> IndexValidator::check_inode(const InodeView& inode) {
  TRY_VOID(check_attributes(inode));
  TRY_VOID(check_xattrs(inode));
  switch (inode.type) {
    case FileType::directory:
      return check_directory(inode);
    case FileType::regular:
      return check_file(inode);
    case FileType::symlink:
      return check_symlink(inode);
    default:
      break;
  }
  if (inode.size != 0 || inode.first != 0 || inode.count != 0) return broken(inode, "a special file with content");
  if (inode.type == FileType::whiteout && (inode.mode != 0 || inode.uid != 0 || inode.gid != 0 ||
                                           inode.mtime != FileTime{} || inode.xattr_count != 0 || inode.links != 1)) {
    return broken(inode, "a whiteout with attributes");
  }
  return {};
}

Result<> IndexValidator::check_attributes(const InodeView& inode) const {
  const uint64_t at = format::kHeaderBytes + uint64_t{inode.number} * format::kInodeBytes;
  const auto flags = load_le<uint8_t>(index_.bytes_, at + format::inode::kFlagsAt);
  if (inode.type < FileType::regular || inode.type > FileType::whiteout) return broken(inode, "unknown type");
  if ((flags & ~format::kFlagOpaque) != 0) return broken(inode, "unknown flags");
  if (inode.opaque && inode.type != FileType::directory) return broken(inode, "opaque, but no directory");
  if (inode.mode > 07777) return broken(inode, "mode");
  if (inode.uid > oci::kMaxId || inode.gid > oci::kMaxId) return broken(inode, "owner");
  if (inode.mtime.nanoseconds > 999'999'999) return broken(inode, "time");
  if (inode.device.major > oci::kMaxDeviceMajor || inode.device.minor > oci::kMaxDeviceMinor)
    return broken(inode, "device");
  if (!is_device(inode.type) && inode.device != Device{}) return broken(inode, "device numbers, but no device");
  if (inode.type != FileType::directory && inode.parent != 0) return broken(inode, "parent of what is no directory");
  if (inode.number == 0 && (inode.type != FileType::directory || inode.parent != 0))
    return broken(inode, "the root is no directory");
  return {};
}

Result<> IndexValidator::check_directory(const InodeView& directory) {
  if (directory.size != 0) return broken(directory, "size of a directory");
  if (directory.first != (directory.count == 0 ? 0 : next_entry_)) return broken(directory, "entries out of order");
  if (directory.count > index_.entry_count_ - next_entry_) return broken(directory, "more entries than there are");
  std::string_view previous;
  uint32_t links = 2;
  for (uint32_t i = 0; i < directory.count; ++i) {
    const EntryView entry = index_.entry(directory, i);
    if (!is_name(entry.name)) return broken(directory, "an impossible name");
    if (i > 0 && entry.name <= previous) return broken(directory, "names out of order");
    previous = entry.name;
    TRY_VOID(check_entry(directory, entry));
    if (entry.type == FileType::directory) ++links;
  }
  next_entry_ += directory.count;
  if (directory.links != links) return broken(directory, "wrong number of links");
  return {};
}

Result<> IndexValidator::check_entry(const InodeView& directory, const EntryView& entry) {
  if (entry.inode >= index_.inode_count_) return broken(directory, "a name of no inode");
  const InodeView inode = index_.inode(entry.inode);
  if (inode.type != entry.type) return broken(directory, "the type of a name is not that of its inode");
  ++names_[entry.inode];
  if (entry.inode == next_inode_) {
    ++next_inode_;
    if (inode.type == FileType::directory && inode.parent != directory.number) return broken(inode, "wrong parent");
    return {};
  }
  // An inode that was seen before: a hard link. Directories have one name, so the tree has no cycles.
  if (entry.inode > next_inode_) return broken(directory, "inodes out of order");
  if (inode.type == FileType::directory) return broken(directory, "a second name of a directory");
  return {};
}

Result<> IndexValidator::check_file(const InodeView& file) {
  if (file.size > kMaxFileBytes) return broken(file, "size");
  if (file.first != (file.count == 0 ? 0 : next_extent_)) return broken(file, "extents out of order");
  if (file.count > index_.extent_count_ - next_extent_) return broken(file, "more extents than there are");
  uint64_t end = 0;
  for (uint32_t i = 0; i < file.count; ++i) {
    const Extent extent = index_.extent(file, i);
    if (extent.offset < end || extent.offset > file.size || extent.length > file.size - extent.offset) {
      return broken(file, "extents overlap or go beyond the end");
    }
    if (extent.length == 0 || extent.offset % kChunkBytes + extent.length > kChunkBytes) {
      return broken(file, "an extent across a chunk boundary");
    }
    if (index_.is_page_mapped() && !is_mappable(extent, file.size))
      return broken(file, "an extent that is not made of pages");
    if (extent.chunk > next_chunk_ || extent.chunk >= index_.chunk_count_) return broken(file, "chunks out of order");
    if (extent.chunk == next_chunk_) ++next_chunk_;
    if (index_.chunk(extent.chunk).length != extent.length)
      return broken(file, "an extent is not as long as its chunk");
    end = extent.offset + extent.length;
    content_bytes_ += extent.length;
  }
  next_extent_ += file.count;
  return {};
}

Result<> IndexValidator::check_symlink(const InodeView& link) const {
  if (link.target.empty() || link.target.size() > oci::kMaxPathBytes || link.target.contains('\0'))
    return broken(link, "symlink target");
  if (link.size != link.target.size()) return broken(link, "size of a symlink");
  return {};
}

Result<> IndexValidator::check_xattrs(const InodeView& inode) {
  if (inode.first_xattr != (inode.xattr_count == 0 ? 0 : next_xattr_)) return broken(inode, "xattrs out of order");
  if (inode.xattr_count > index_.xattr_count_ - next_xattr_) return broken(inode, "more xattrs than there are");
  std::string_view previous;
  for (uint32_t i = 0; i < inode.xattr_count; ++i) {
    const XattrView xattr = index_.xattr(inode, i);
    if (xattr.name.empty() || xattr.name.size() > oci::kMaxXattrNameBytes || xattr.name.contains('\0'))
      return broken(inode, "xattr name");
    if (xattr.name.starts_with(kOverlayXattrs)) return broken(inode, "an xattr that overlayfs would obey");
    if (i > 0 && xattr.name <= previous) return broken(inode, "xattrs out of order");
    if (xattr.value.size() > oci::kMaxXattrValueBytes) return broken(inode, "xattr value");
    previous = xattr.name;
  }
  next_xattr_ += inode.xattr_count;
  return {};
}

/// Chunks longer than a block use the table of block digests up, in their order.
Result<> IndexValidator::check_blocks() const {
  uint64_t next_block = 0;
  for (uint32_t i = 0; i < index_.chunk_count_; ++i) {
    const uint32_t length = index_.chunk(i).length;
    const uint64_t record = index_.chunks_ + uint64_t{i} * format::kChunkEntryBytes;
    const auto first = load_le<uint32_t>(index_.bytes_, record + format::chunk::kFirstBlockAt);
    const bool has_blocks = index_.is_page_mapped() && length > kBlockBytes;
    if (first != (has_blocks ? next_block : 0)) return wrong("blocks out of order");
    if (has_blocks) next_block += blocks_of(length);
  }
  if (next_block != index_.block_count_) return wrong("the number of blocks does not match the chunks");
  return {};
}

Result<> IndexValidator::check_places() const {
  for (uint32_t i = 0; i < index_.chunk_count_; ++i) TRY_VOID(check_place(i));
  return index_.is_page_mapped() ? check_plain_space() : Result<>();
}

Result<> IndexValidator::check_place(uint32_t number) const {
  const ChunkInfo chunk = index_.chunk(number);
  const ChunkLocation place = index_.location(number);
  const uint64_t end = index_.locations_ + (uint64_t{number} + 1) * format::location_bytes(index_.version_);
  if (load_le<uint64_t>(index_.bytes_, end - 8) > static_cast<uint64_t>(ChunkEncoding::zstd))
    return wrong("unknown encoding of a chunk");
  if (place.pack >= index_.pack_count_) return wrong("a chunk in no pack");
  const PackInfo pack = index_.pack(place.pack);
  if (place.stored_length == 0 || place.stored_length > chunk.length) return wrong("stored size of a chunk");
  if (place.encoding == ChunkEncoding::raw && place.stored_length != chunk.length)
    return wrong("stored size of a raw chunk");
  if (place.stored_length > pack.size || place.offset > pack.size - place.stored_length)
    return wrong("a chunk beyond its pack");
  if (!index_.is_page_mapped()) return {};
  if (pack.plain_size > kPackPlainBytes || pack.plain_size % kPageBytes != 0)
    return wrong("size of the plain space of a pack");
  if (place.plain_offset % kPageBytes != 0) return wrong("a chunk that does not begin at a page");
  if (chunk.length > pack.plain_size || place.plain_offset > pack.plain_size - round_up_to_page(chunk.length))
    return wrong("a chunk beyond the plain space of its pack");
  return {};
}

/// Chunks of a pack share no byte, neither stored nor plain, and lie in the same order in both.
Result<> IndexValidator::check_plain_space() const {
  struct Place {
    uint64_t page;  // number of the pack, then of the page in its plain space
    uint32_t chunk;
  };
  std::vector<Place> places;
  places.reserve(index_.chunk_count_);
  for (uint32_t i = 0; i < index_.chunk_count_; ++i) {
    const ChunkLocation place = index_.location(i);
    places.push_back({uint64_t{place.pack} << 32u | place.plain_offset / kPageBytes, i});
  }
  std::ranges::sort(places, {}, &Place::page);
  for (size_t i = 1; i < places.size(); ++i) {
    const ChunkLocation before = index_.location(places[i - 1].chunk);
    const ChunkLocation place = index_.location(places[i].chunk);
    if (before.pack != place.pack) continue;
    const uint64_t plain_end = before.plain_offset + index_.chunk(places[i - 1].chunk).length;
    if (place.plain_offset < plain_end || place.offset < before.offset + before.stored_length)
      return wrong("chunks overlap in their pack");
  }
  return {};
}

}  // namespace hearth::image
