#include "image/layer_encoder.hpp"

#include "base/little_endian.hpp"
#include "image/layer_format.hpp"

#include <limits>
#include <string_view>
#include <unordered_map>

namespace hearth::image {

namespace {

constexpr uint32_t kUnset = std::numeric_limits<uint32_t>::max();

/// What a chunk adds to an index beside its blocks.
constexpr uint64_t kBytesAChunk = format::kChunkEntryBytes + format::location_bytes(format::kVersion);

void append_digest(std::string& bytes, const Digest& digest) {
  bytes.append(reinterpret_cast<const char*>(digest.bytes().data()), Digest::kSize);
}

/// Texts stored once each, in the order of first use.
class StringTable {
 public:
  uint32_t add(std::string_view text) {
    if (text.empty()) return 0;
    const auto [found, added] = offsets_.try_emplace(text, bytes_.size());
    if (added) bytes_.append(text);
    return static_cast<uint32_t>(found->second);
  }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
  std::unordered_map<std::string_view, uint64_t> offsets_;  // keys point into the tree
};

class Encoder {
 public:
  Encoder(const FileTree& tree, const ChunkTable& chunks) : tree_(tree), chunks_(chunks) {}

  Result<EncodedLayer> run() {
    find_blocks();
    number_inodes();
    for (const InodeId id : order_) encode_inode(id);
    TRY_VOID(check_limits());
    EncodedLayer layer;
    layer.bytes = tree_part();
    layer.digest = Digest::of(layer.bytes);
    append_places(layer.bytes);
    return layer;
  }

 private:
  /// Where the block digests of each chunk begin in the table that came in.
  void find_blocks() {
    uint64_t next = 0;
    for (const ChunkInfo& chunk : chunks_.chunks) {
      first_block_.push_back(next);
      if (chunk.length > kBlockBytes) next += blocks_of(chunk.length);
    }
    CHECK_PROMISE(next == chunks_.blocks.size());
  }

  /// Breadth first, names in byte order; a hard link has the number of its first name.
  void number_inodes() {
    order_.push_back(kRootInode);
    numbers_[kRootInode] = 0;
    parents_.push_back(0);
    for (size_t i = 0; i < order_.size(); ++i) {
      const FileTree::Inode& inode = tree_.inode(order_[i]);
      if (!inode.children) continue;
      for (const auto& [name, id] : *inode.children) {
        const auto [found, added] = numbers_.try_emplace(id, static_cast<uint32_t>(order_.size()));
        if (!added) continue;
        order_.push_back(id);
        parents_.push_back(static_cast<uint32_t>(i));
      }
    }
  }

  uint32_t chunk_number(uint32_t ticket) {
    const uint32_t chunk = chunks_.of_ticket[ticket];
    if (renumbered_.empty()) renumbered_.assign(chunks_.chunks.size(), kUnset);
    if (renumbered_[chunk] == kUnset) {
      renumbered_[chunk] = static_cast<uint32_t>(used_chunks_.size());
      used_chunks_.push_back(chunk);
      const uint32_t length = chunks_.chunks[chunk].length;
      if (length > kBlockBytes) block_count_ += blocks_of(length);
    }
    return renumbered_[chunk];
  }

  void encode_inode(InodeId id) {
    const FileTree::Inode& inode = tree_.inode(id);
    uint32_t links = inode.links;
    uint64_t size = 0;
    uint64_t first = 0;
    uint64_t count = 0;
    uint32_t parent = 0;
    if (inode.type == FileType::directory) {
      parent = parents_[numbers_[id]];
      first = entry_count_;
      count = inode.children->size();
      links = 2 + encode_entries(inode);
    } else if (inode.type == FileType::symlink) {
      size = inode.target.size();
      first = strings_.add(inode.target);
      count = size;
    } else if (inode.type == FileType::regular) {
      size = inode.size;
      first = extent_count_;
      count = inode.extents.size();
      encode_extents(inode);
    }
    const uint64_t first_xattr = xattr_count_;
    encode_xattrs(inode);
    inodes_.push_back(static_cast<char>(inode.type));
    inodes_.push_back(static_cast<char>(inode.opaque ? format::kFlagOpaque : 0));
    append_le(inodes_, inode.attributes.mode);
    append_le(inodes_, inode.attributes.uid);
    append_le(inodes_, inode.attributes.gid);
    append_le(inodes_, links);
    append_le(inodes_, inode.attributes.mtime.seconds);
    append_le(inodes_, inode.attributes.mtime.nanoseconds);
    append_le(inodes_, static_cast<uint32_t>(inode.attributes.xattrs.size()));
    append_le(inodes_, size);
    append_le(inodes_, inode.device.major);
    append_le(inodes_, inode.device.minor);
    append_le(inodes_, static_cast<uint32_t>(count == 0 ? 0 : first));
    append_le(inodes_, static_cast<uint32_t>(count));
    append_le(inodes_, static_cast<uint32_t>(inode.attributes.xattrs.empty() ? 0 : first_xattr));
    append_le(inodes_, parent);
  }

  /// Returns how many of the entries are directories.
  uint32_t encode_entries(const FileTree::Inode& directory) {
    uint32_t directories = 0;
    for (const auto& [name, id] : *directory.children) {
      const FileType type = tree_.inode(id).type;
      append_le(entries_, numbers_[id]);
      append_le(entries_, strings_.add(name));
      append_le(entries_, static_cast<uint16_t>(name.size()));
      entries_.push_back(static_cast<char>(type));
      entries_.push_back('\0');
      ++entry_count_;
      if (type == FileType::directory) ++directories;
    }
    return directories;
  }

  void encode_extents(const FileTree::Inode& file) {
    for (const Extent& extent : file.extents) {
      append_le(extents_, extent.offset);
      append_le(extents_, extent.length);
      append_le(extents_, chunk_number(extent.chunk));
      content_bytes_ += extent.length;
      ++extent_count_;
    }
  }

  void encode_xattrs(const FileTree::Inode& inode) {
    for (const Xattr& xattr : inode.attributes.xattrs) {
      append_le(xattrs_, strings_.add(xattr.name));
      append_le(xattrs_, strings_.add(xattr.value));
      append_le(xattrs_, static_cast<uint32_t>(xattr.value.size()));
      append_le(xattrs_, static_cast<uint16_t>(xattr.name.size()));
      append_le(xattrs_, uint16_t{0});
      ++xattr_count_;
    }
  }

  Result<> check_limits() const {
    const uint64_t total = inodes_.size() + entries_.size() + extents_.size() + xattrs_.size() +
                           strings_.bytes().size() + used_chunks_.size() * kBytesAChunk + block_count_ * Digest::kSize;
    if (total > kMaxIndexBytes / 8 * 7) {
      return fail(ErrorCode::exhausted, "the image has too many files: its index would be larger than " +
                                            std::to_string(kMaxIndexBytes) + " bytes");
    }
    return {};
  }

  void append_chunks(std::string& bytes) const {
    uint64_t next_block = 0;
    for (const uint32_t chunk : used_chunks_) {
      const ChunkInfo& info = chunks_.chunks[chunk];
      const bool has_blocks = info.length > kBlockBytes;
      append_digest(bytes, info.digest);
      append_le(bytes, info.length);
      append_le(bytes, static_cast<uint32_t>(has_blocks ? next_block : 0));
      if (has_blocks) next_block += blocks_of(info.length);
    }
    for (const uint32_t chunk : used_chunks_) {
      const uint32_t length = chunks_.chunks[chunk].length;
      if (length <= kBlockBytes) continue;
      for (uint32_t i = 0; i < blocks_of(length); ++i) append_digest(bytes, chunks_.blocks[first_block_[chunk] + i]);
    }
  }

  std::string tree_part() const {
    std::string bytes(format::kTreeMagic);
    const uint64_t tree_bytes = format::kHeaderBytes + inodes_.size() + extents_.size() + xattrs_.size() +
                                used_chunks_.size() * format::kChunkEntryBytes + block_count_ * Digest::kSize +
                                format::align8(entries_.size()) + format::align8(strings_.bytes().size());
    bytes.reserve(tree_bytes + used_chunks_.size() * format::location_bytes(format::kVersion));
    append_le(bytes, format::kVersion);
    append_le(bytes, static_cast<uint32_t>(format::kHeaderBytes));
    append_le(bytes, tree_bytes);
    append_le(bytes, static_cast<uint32_t>(order_.size()));
    append_le(bytes, static_cast<uint32_t>(entry_count_));
    append_le(bytes, static_cast<uint32_t>(extent_count_));
    append_le(bytes, static_cast<uint32_t>(xattr_count_));
    append_le(bytes, static_cast<uint32_t>(used_chunks_.size()));
    append_le(bytes, kChunkBytes);
    append_le(bytes, static_cast<uint64_t>(strings_.bytes().size()));
    append_le(bytes, content_bytes_);
    append_le(bytes, kBlockBytes);
    append_le(bytes, static_cast<uint32_t>(block_count_));
    bytes.resize(format::kHeaderBytes, '\0');
    bytes += inodes_;
    bytes += extents_;
    bytes += xattrs_;
    append_chunks(bytes);
    bytes += entries_;
    bytes.resize(format::align8(bytes.size()), '\0');
    bytes += strings_.bytes();
    bytes.resize(format::align8(bytes.size()), '\0');
    CHECK_PROMISE(bytes.size() == tree_bytes);
    return bytes;
  }

  /// Packs that only hold content which the merge has overwritten since are left out.
  void append_places(std::string& bytes) const {
    const size_t begin = bytes.size();
    std::vector<uint32_t> pack_numbers(chunks_.packs.size(), kUnset);
    for (const uint32_t chunk : used_chunks_) pack_numbers[chunks_.locations[chunk].pack] = 0;
    std::string packs;
    uint32_t pack_count = 0;
    for (size_t i = 0; i < pack_numbers.size(); ++i) {
      if (pack_numbers[i] == kUnset) continue;
      pack_numbers[i] = pack_count++;
      append_digest(packs, chunks_.packs[i].digest);
      append_le(packs, chunks_.packs[i].size);
      append_le(packs, chunks_.packs[i].plain_size);
    }
    bytes += format::kPlaceMagic;
    append_le(bytes, format::kVersion);
    append_le(bytes, pack_count);
    append_le(bytes, static_cast<uint32_t>(used_chunks_.size()));
    append_le(bytes, uint32_t{0});
    bytes += packs;
    for (const uint32_t chunk : used_chunks_) {
      const ChunkLocation& place = chunks_.locations[chunk];
      append_le(bytes, place.offset);
      append_le(bytes, place.plain_offset);
      append_le(bytes, place.stored_length);
      append_le(bytes, pack_numbers[place.pack]);
      append_le(bytes, static_cast<uint64_t>(place.encoding));
    }
    append_digest(bytes, Digest::of(std::string_view(bytes).substr(begin)));
  }

  const FileTree& tree_;
  const ChunkTable& chunks_;
  std::vector<InodeId> order_;
  std::vector<uint32_t> parents_;  // by new number
  std::unordered_map<InodeId, uint32_t> numbers_;
  std::vector<uint32_t> renumbered_;  // chunk → its number in the index
  std::vector<uint32_t> used_chunks_;
  std::vector<uint64_t> first_block_;  // by chunk as it came in
  StringTable strings_;
  std::string inodes_, entries_, extents_, xattrs_;
  uint64_t entry_count_ = 0, extent_count_ = 0, xattr_count_ = 0, block_count_ = 0, content_bytes_ = 0;
};

}  // namespace

Result<EncodedLayer> encode_layer(const FileTree& tree, const ChunkTable& chunks) {
  return Encoder(tree, chunks).run();
}

}  // namespace hearth::image
