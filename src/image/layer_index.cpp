#include "image/layer_index.hpp"

#include "base/little_endian.hpp"
#include "image/index_validator.hpp"
#include "image/layer_format.hpp"
#include "image/packed_index.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace hearth::image {

namespace {

Digest load_digest(std::string_view bytes, size_t offset) {
  std::array<uint8_t, Digest::kSize> value{};
  std::memcpy(value.data(), bytes.data() + offset, value.size());
  return Digest(value);
}

Unexpected broken(std::string_view rule) {
  return fail(ErrorCode::corrupt, "layer index: " + std::string(rule));
}

}  // namespace

Result<LayerIndex> LayerIndex::decode(std::string bytes) {
  LayerIndex index;
  index.index_bytes_ = bytes.size();
  if (is_packed_index(bytes)) {
    TRY(index.bytes_, unpack_index(bytes));
    bytes = {};
  } else {
    index.bytes_ = std::move(bytes);
    index.trailer_bytes_ = format::kPlaceTrailerBytes;
  }
  TRY_VOID(index.read_layout());
  TRY_VOID(IndexValidator(index).run());
  return index;
}

/// What the header says, before anything is believed of it but the version.
Result<> LayerIndex::read_header() {
  const std::string_view all = bytes_;
  if (all.size() > kMaxIndexBytes) return broken("larger than the limit");
  if (all.size() < format::kHeaderBytes + format::kPlaceHeaderBytes + trailer_bytes_) return broken("too short");
  if (!all.starts_with(format::kTreeMagic)) return broken("not a layer index (wrong magic)");
  version_ = load_le<uint32_t>(all, format::header::kVersionAt);
  if (version_ < format::kOldestVersion || version_ > format::kVersion) {
    return broken("format version " + std::to_string(version_) + " is not known to this program; it knows 1 to 3");
  }
  if (load_le<uint32_t>(all, format::header::kHeaderBytesAt) != format::kHeaderBytes)
    return broken("wrong header size");
  inode_count_ = load_le<uint32_t>(all, format::header::kInodesAt);
  entry_count_ = load_le<uint32_t>(all, format::header::kEntriesAt);
  extent_count_ = load_le<uint32_t>(all, format::header::kExtentsAt);
  xattr_count_ = load_le<uint32_t>(all, format::header::kXattrsAt);
  chunk_count_ = load_le<uint32_t>(all, format::header::kChunksAt);
  strings_bytes_ = load_le<uint64_t>(all, format::header::kStringsAt);
  content_bytes_ = load_le<uint64_t>(all, format::header::kContentAt);
  if (load_le<uint32_t>(all, format::header::kChunkBytesAt) != kChunkBytes) return broken("unknown chunk size");
  if (is_page_mapped()) {
    if (load_le<uint32_t>(all, format::header::kBlockBytesAt) != kBlockBytes) return broken("unknown block size");
    block_count_ = load_le<uint32_t>(all, format::header::kBlocksAt);
  }
  const size_t reserved_at = is_page_mapped() ? format::header::kReservedAt : format::header::kReservedInVersion1At;
  const std::string_view reserved = all.substr(reserved_at, format::kHeaderBytes - reserved_at);
  if (reserved.find_first_not_of('\0') != std::string_view::npos) return broken("reserved header bytes are not zero");
  if (strings_bytes_ > all.size()) return broken("texts beyond the end");
  return {};
}

/// Where the sections lie. All arithmetic is on 64 bits with 32-bit counts: nothing can overflow.
Result<> LayerIndex::read_layout() {
  TRY_VOID(read_header());
  const std::string_view all = bytes_;
  extents_ = format::kHeaderBytes + uint64_t{inode_count_} * format::kInodeBytes;
  xattrs_ = extents_ + uint64_t{extent_count_} * format::kExtentBytes;
  chunks_ = xattrs_ + uint64_t{xattr_count_} * format::kXattrBytes;
  blocks_ = chunks_ + uint64_t{chunk_count_} * format::kChunkEntryBytes;
  entries_ = blocks_ + uint64_t{block_count_} * Digest::kSize;
  const uint64_t entries_end = entries_ + uint64_t{entry_count_} * format::kEntryBytes;
  strings_ = format::align8(entries_end);
  const uint64_t tree_bytes = format::align8(strings_ + strings_bytes_);
  if (load_le<uint64_t>(all, format::header::kTreeBytesAt) != tree_bytes)
    return broken("the counts do not match the size");
  if (tree_bytes + format::kPlaceHeaderBytes + trailer_bytes_ > all.size()) return broken("cut");
  for (const auto& [begin, end] : {std::pair{entries_end, strings_}, {strings_ + strings_bytes_, tree_bytes}}) {
    if (all.substr(begin, end - begin).find_first_not_of('\0') != std::string_view::npos)
      return broken("padding is not zero");
  }
  digest_ = Digest::of(all.substr(0, tree_bytes));
  return read_places(tree_bytes);
}

Result<> LayerIndex::read_places(uint64_t tree_bytes) {
  const std::string_view all = bytes_;
  const std::string_view places = all.substr(tree_bytes);
  if (!places.starts_with(format::kPlaceMagic)) return broken("no table of places after the tree");
  if (load_le<uint32_t>(places, format::place::kVersionAt) != version_)
    return broken("unknown version of the table of places");
  pack_count_ = load_le<uint32_t>(places, format::place::kPacksAt);
  if (load_le<uint32_t>(places, format::place::kChunksAt) != chunk_count_ ||
      load_le<uint32_t>(places, format::place::kReservedAt) != 0) {
    return broken("the table of places does not match the tree");
  }
  packs_ = tree_bytes + format::kPlaceHeaderBytes;
  locations_ = packs_ + uint64_t{pack_count_} * format::pack_entry_bytes(version_);
  const uint64_t trailer = locations_ + uint64_t{chunk_count_} * format::location_bytes(version_);
  if (trailer + trailer_bytes_ != all.size()) return broken("wrong size");
  if (trailer_bytes_ > 0 && load_digest(all, trailer) != Digest::of(all.substr(tree_bytes, trailer - tree_bytes))) {
    return broken("the table of places does not match its checksum");
  }
  return {};
}

std::string_view LayerIndex::text(uint64_t offset, uint64_t length) const {
  return std::string_view(bytes_).substr(strings_ + offset, length);
}

InodeView LayerIndex::inode(uint32_t number) const {
  namespace at = format::inode;
  const std::string_view record = std::string_view(bytes_).substr(
      format::kHeaderBytes + uint64_t{number} * format::kInodeBytes, format::kInodeBytes);
  InodeView view;
  view.number = number;
  view.type = static_cast<FileType>(record[at::kTypeAt]);
  view.opaque = (load_le<uint8_t>(record, at::kFlagsAt) & format::kFlagOpaque) != 0;
  view.mode = load_le<uint16_t>(record, at::kModeAt);
  view.uid = load_le<uint32_t>(record, at::kUidAt);
  view.gid = load_le<uint32_t>(record, at::kGidAt);
  view.links = load_le<uint32_t>(record, at::kLinksAt);
  view.mtime = {load_le<int64_t>(record, at::kSecondsAt), load_le<uint32_t>(record, at::kNanosecondsAt)};
  view.device = {load_le<uint32_t>(record, at::kMajorAt), load_le<uint32_t>(record, at::kMinorAt)};
  view.size = load_le<uint64_t>(record, at::kSizeAt);
  view.first = load_le<uint32_t>(record, at::kFirstAt);
  view.count = load_le<uint32_t>(record, at::kCountAt);
  view.first_xattr = load_le<uint32_t>(record, at::kFirstXattrAt);
  view.xattr_count = load_le<uint32_t>(record, at::kXattrCountAt);
  view.parent = load_le<uint32_t>(record, at::kParentAt);
  if (view.type == FileType::symlink) {
    view.target = text(view.first, view.count);
    view.first = 0;
    view.count = 0;
  }
  return view;
}

EntryView LayerIndex::entry(const InodeView& directory, uint32_t i) const {
  const uint64_t offset = entries_ + (uint64_t{directory.first} + i) * format::kEntryBytes;
  EntryView view;
  view.inode = load_le<uint32_t>(bytes_, offset);
  view.name = text(load_le<uint32_t>(bytes_, offset + 4), load_le<uint16_t>(bytes_, offset + 8));
  view.type = static_cast<FileType>(load_le<uint8_t>(bytes_, offset + 10));
  return view;
}

std::optional<EntryView> LayerIndex::find(const InodeView& directory, std::string_view name) const {
  if (directory.type != FileType::directory) return std::nullopt;
  uint32_t low = 0;
  uint32_t high = directory.count;
  while (low < high) {
    const uint32_t middle = low + (high - low) / 2;
    const EntryView view = entry(directory, middle);
    if (view.name == name) return view;
    if (view.name < name) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return std::nullopt;
}

std::optional<InodeView> LayerIndex::lookup(std::string_view path) const {
  InodeView at = inode(0);
  while (!path.empty()) {
    const size_t slash = std::min(path.find('/'), path.size());
    const auto found = find(at, path.substr(0, slash));
    if (!found) return std::nullopt;
    at = inode(found->inode);
    path.remove_prefix(std::min(slash + 1, path.size()));
  }
  return at;
}

Extent LayerIndex::extent(const InodeView& file, uint32_t i) const {
  const uint64_t offset = extents_ + (uint64_t{file.first} + i) * format::kExtentBytes;
  return {load_le<uint64_t>(bytes_, offset), load_le<uint32_t>(bytes_, offset + 8),
          load_le<uint32_t>(bytes_, offset + 12)};
}

XattrView LayerIndex::xattr(const InodeView& inode, uint32_t i) const {
  const uint64_t offset = xattrs_ + (uint64_t{inode.first_xattr} + i) * format::kXattrBytes;
  return {text(load_le<uint32_t>(bytes_, offset), load_le<uint16_t>(bytes_, offset + 12)),
          text(load_le<uint32_t>(bytes_, offset + 4), load_le<uint32_t>(bytes_, offset + 8))};
}

ChunkInfo LayerIndex::chunk(uint32_t number) const {
  const uint64_t offset = chunks_ + uint64_t{number} * format::kChunkEntryBytes;
  return {load_digest(bytes_, offset), load_le<uint32_t>(bytes_, offset + format::chunk::kLengthAt)};
}

uint32_t LayerIndex::block_count(uint32_t chunk) const {
  if (!is_page_mapped()) return 1;
  const auto length =
      load_le<uint32_t>(bytes_, chunks_ + uint64_t{chunk} * format::kChunkEntryBytes + format::chunk::kLengthAt);
  return blocks_of(length);
}

Digest LayerIndex::block(uint32_t chunk, uint32_t i) const {
  const uint64_t record = chunks_ + uint64_t{chunk} * format::kChunkEntryBytes;
  if (block_count(chunk) == 1) return load_digest(bytes_, record);
  const uint64_t first = load_le<uint32_t>(bytes_, record + format::chunk::kFirstBlockAt);
  return load_digest(bytes_, blocks_ + (first + i) * Digest::kSize);
}

ChunkLocation LayerIndex::location(uint32_t chunk) const {
  const uint64_t offset = locations_ + uint64_t{chunk} * format::location_bytes(version_);
  // Version 1 has no plain offset between the offset and the rest.
  const uint64_t rest = offset + (is_page_mapped() ? 16 : 8);
  return {.pack = load_le<uint32_t>(bytes_, rest + 4),
          .offset = load_le<uint64_t>(bytes_, offset),
          .plain_offset = is_page_mapped() ? load_le<uint64_t>(bytes_, offset + 8) : 0,
          .stored_length = load_le<uint32_t>(bytes_, rest),
          .encoding = static_cast<ChunkEncoding>(load_le<uint8_t>(bytes_, rest + 8))};
}

PackInfo LayerIndex::pack(uint32_t number) const {
  const uint64_t offset = packs_ + uint64_t{number} * format::pack_entry_bytes(version_);
  return {.digest = load_digest(bytes_, offset),
          .size = load_le<uint64_t>(bytes_, offset + Digest::kSize),
          .plain_size = is_page_mapped() ? load_le<uint64_t>(bytes_, offset + Digest::kSize + 8) : 0};
}

uint64_t LayerIndex::stored_bytes() const {
  uint64_t total = 0;
  for (uint32_t i = 0; i < chunk_count_; ++i) total += location(i).stored_length;
  return total;
}

}  // namespace hearth::image
