// The index of one layer: its whole file tree without the content, and where each chunk of content lies.
// The byte format is docs/formats/layer.md. The tree part names the layer: digest = SHA-256 of the tree part, so that
// equal trees have equal digests however they were packed.
#pragma once

#include "base/digest.hpp"
#include "base/result.hpp"
#include "oci/file_metadata.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::image {

using oci::Device;
using oci::FileAttributes;
using oci::FileTime;
using oci::FileType;
using oci::Xattr;

/// Chunks are cut per file at multiples of this file offset; the last one of a run of data is shorter.
inline constexpr uint32_t kChunkBytes = 1024 * 1024;
/// The unit of verification below a chunk: each run of so many bytes of a longer chunk has a digest of its own.
inline constexpr uint32_t kBlockBytes = 64 * 1024;
/// Extents and plain offsets are multiples of this, so that every extent can be mapped by pages.
inline constexpr uint32_t kPageBytes = 4096;
/// A pack is closed before it grows beyond this, or its plain space beyond that.
inline constexpr uint64_t kPackBytes = 64 * 1024 * 1024;
inline constexpr uint64_t kPackPlainBytes = uint64_t{1} << 30;
/// Decoding refuses larger indexes (about ten million files).
inline constexpr uint64_t kMaxIndexBytes = uint64_t{2} << 30;

enum class ChunkEncoding : uint8_t { raw = 0, zstd = 1 };

inline constexpr uint64_t round_up_to_page(uint64_t value) {
  return (value + kPageBytes - 1) / kPageBytes * kPageBytes;
}

/// Blocks of a chunk (or other run of plain bytes) of this length, 0 for none.
inline constexpr uint32_t blocks_of(uint64_t length) {
  return static_cast<uint32_t>((length + kBlockBytes - 1) / kBlockBytes);
}

/// A run of file content: all of one chunk. What no extent covers is a hole and reads as zeros. Offsets are multiples
/// of kPageBytes, and lengths too but where the file ends (not in version 1).
struct Extent {
  uint64_t offset = 0;  // in the file
  uint32_t length = 0;  // bytes, 1..kChunkBytes, never across a multiple of kChunkBytes
  uint32_t chunk = 0;   // number in the layer's chunk table
  bool operator==(const Extent&) const = default;
};

struct ChunkInfo {
  Digest digest;        // SHA-256 of the plain bytes
  uint32_t length = 0;  // plain bytes
};

struct ChunkLocation {
  uint32_t pack = 0;  // number in the layer's pack table
  uint64_t offset = 0;
  uint64_t plain_offset = 0;   // in the pack's plain space; 0 in version 1
  uint32_t stored_length = 0;  // bytes in the pack
  ChunkEncoding encoding = ChunkEncoding::raw;
};

/// The plain space of a pack: the plain bytes of its chunks in the order of the pack, each at the next multiple of
/// kPageBytes. A node's cache of the pack is a sparse file of just these bytes.
struct PackInfo {
  Digest digest;            // SHA-256 of the pack's bytes: its name in the store
  uint64_t size = 0;        // bytes
  uint64_t plain_size = 0;  // of the plain space: a multiple of kPageBytes; 0 in version 1
};

/// One inode as stored. Views point into the LayerIndex.
struct InodeView {
  uint32_t number = 0;  // 0 is the root directory; numbers never change for a given layer
  FileType type = FileType::regular;
  bool opaque = false;  // directory: hides what the layers below have in it (trusted.overlay.opaque)
  uint16_t mode = 0;    // 07777
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t links = 1;  // names of this inode; for a directory 2 + its subdirectories
  FileTime mtime;
  Device device;            // character and block devices
  uint64_t size = 0;        // regular files: bytes; symlinks: bytes of the target
  std::string_view target;  // symlinks
  uint32_t parent = 0;      // directories: inode of the directory that holds it
  uint32_t first = 0;       // directory: first entry; regular file: first extent
  uint32_t count = 0;       // directory: entries; regular file: extents
  uint32_t first_xattr = 0;
  uint32_t xattr_count = 0;
};

struct EntryView {
  std::string_view name;  // 1..255 bytes, no '/', any encoding
  uint32_t inode = 0;
  FileType type = FileType::regular;
};

struct XattrView {
  std::string_view name;
  std::string_view value;
};

/// An index in memory, validated completely by decode(): every accessor may then be called with any number below its
/// count. Immutable, hence safe from any number of threads. Memory: the bytes of the plain index and nothing that grows
/// with them.
///
/// Order of things: inodes are numbered breadth first, entries of a directory are sorted by name bytes and are
/// contiguous, so the children of a directory have neighbouring numbers; a second name of the same number is a hard
/// link.
class LayerIndex {
 public:
  /// Takes the bytes of ws/<w>/layers/<hex>, in either form. corrupt with the first rule that is broken.
  static Result<LayerIndex> decode(std::string bytes);

  /// The layer's digest: SHA-256 of the tree part (computed at decode).
  const Digest& digest() const { return digest_; }

  uint32_t inode_count() const { return inode_count_; }
  uint32_t entry_count() const { return entry_count_; }
  uint32_t extent_count() const { return extent_count_; }
  uint32_t chunk_count() const { return chunk_count_; }
  uint32_t pack_count() const { return pack_count_; }
  uint64_t content_bytes() const { return content_bytes_; }  // sum of the plain bytes of all extents of all inodes
  uint64_t stored_bytes() const;                             // sum of the stored lengths of all chunks
  uint64_t index_bytes() const { return index_bytes_; }      // as they came in

  uint32_t version() const { return version_; }
  /// Whether every extent can be mapped by pages and blocks have digests. Layers of version 1 have neither: only an
  /// unpacking mount can show them.
  bool is_page_mapped() const { return version_ >= 2; }

  InodeView inode(uint32_t number) const;
  /// Entry `i` of a directory, i < inode.count. Sorted by name.
  EntryView entry(const InodeView& directory, uint32_t i) const;
  /// Binary search by name.
  std::optional<EntryView> find(const InodeView& directory, std::string_view name) const;
  /// The inode at a path of plain names ("usr/bin/python3"); symlinks are not followed. "" is the root.
  std::optional<InodeView> lookup(std::string_view path) const;
  /// Extent `i` of a regular file, i < inode.count. Ascending offsets, no overlap.
  Extent extent(const InodeView& file, uint32_t i) const;
  XattrView xattr(const InodeView& inode, uint32_t i) const;

  ChunkInfo chunk(uint32_t number) const;
  /// Blocks of kBlockBytes (the last one may be shorter) that a chunk is made of, at least 1. In version 1 a chunk is
  /// its only block, however long.
  uint32_t block_count(uint32_t chunk) const;
  /// SHA-256 of the plain bytes of block `i` of a chunk, i < block_count(chunk). Of a chunk's only block: the chunk's.
  Digest block(uint32_t chunk, uint32_t i) const;
  ChunkLocation location(uint32_t chunk) const;
  PackInfo pack(uint32_t number) const;

 private:
  LayerIndex() = default;
  Result<> read_layout();
  Result<> read_header();
  Result<> read_places(uint64_t tree_bytes);
  std::string_view text(uint64_t offset, uint64_t length) const;
  friend class IndexValidator;

  std::string bytes_;  // plain
  uint64_t index_bytes_ = 0;
  uint64_t trailer_bytes_ = 0;  // behind the places
  Digest digest_;
  uint32_t version_ = 0;
  uint32_t inode_count_ = 0;
  uint32_t entry_count_ = 0;
  uint32_t extent_count_ = 0;
  uint32_t xattr_count_ = 0;
  uint32_t chunk_count_ = 0;
  uint32_t block_count_ = 0;
  uint32_t pack_count_ = 0;
  uint64_t content_bytes_ = 0;
  // Offsets of the sections in bytes_.
  uint64_t entries_ = 0;
  uint64_t extents_ = 0;
  uint64_t xattrs_ = 0;
  uint64_t chunks_ = 0;
  uint64_t blocks_ = 0;
  uint64_t strings_ = 0;
  uint64_t strings_bytes_ = 0;
  uint64_t packs_ = 0;
  uint64_t locations_ = 0;
};

}  // namespace hearth::image
