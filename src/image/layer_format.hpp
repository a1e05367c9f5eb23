// Offsets and sizes of the layer index format, versions 1 and 2, and of its packed form (version 3), for what encodes
// and decodes them. The document is docs/formats/layer.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace hearth::image::format {

inline constexpr uint32_t kVersion = 2;  // of the tree that is written; 1 is read too
inline constexpr uint32_t kOldestVersion = 1;
inline constexpr std::string_view kTreeMagic = "HRTHLAYR";
inline constexpr std::string_view kPlaceMagic = "HRTHPLAC";
inline constexpr size_t kMagicBytes = 8;

inline constexpr size_t kHeaderBytes = 96;
inline constexpr size_t kInodeBytes = 64;
inline constexpr size_t kExtentBytes = 16;
inline constexpr size_t kXattrBytes = 16;
inline constexpr size_t kChunkEntryBytes = 40;
inline constexpr size_t kEntryBytes = 12;

inline constexpr size_t kPlaceHeaderBytes = 24;
inline constexpr size_t kPlaceTrailerBytes = 32;

/// Sizes of the records of places, by version.
inline constexpr size_t pack_entry_bytes(uint32_t version) {
  return version == 1 ? 40 : 48;
}
inline constexpr size_t location_bytes(uint32_t version) {
  return version == 1 ? 24 : 32;
}

inline constexpr uint8_t kFlagOpaque = 1;

inline constexpr uint64_t align8(uint64_t value) {
  return (value + 7) / 8 * 8;
}

namespace header {
inline constexpr size_t kVersionAt = 8, kHeaderBytesAt = 12, kTreeBytesAt = 16, kInodesAt = 24, kEntriesAt = 28,
                        kExtentsAt = 32, kXattrsAt = 36, kChunksAt = 40, kChunkBytesAt = 44, kStringsAt = 48,
                        kContentAt = 56, kReservedInVersion1At = 64, kBlockBytesAt = 64, kBlocksAt = 68,
                        kReservedAt = 72;
}  // namespace header

namespace inode {
inline constexpr size_t kTypeAt = 0, kFlagsAt = 1, kModeAt = 2, kUidAt = 4, kGidAt = 8, kLinksAt = 12, kSecondsAt = 16,
                        kNanosecondsAt = 24, kXattrCountAt = 28, kSizeAt = 32, kMajorAt = 40, kMinorAt = 44,
                        kFirstAt = 48, kCountAt = 52, kFirstXattrAt = 56, kParentAt = 60;
}  // namespace inode

namespace chunk {
inline constexpr size_t kLengthAt = 32, kFirstBlockAt = 36;
}  // namespace chunk

namespace place {
inline constexpr size_t kVersionAt = 8, kPacksAt = 12, kChunksAt = 16, kReservedAt = 20;  // in the places' header
}  // namespace place

/// The packed form: a head of its own with the tree's header in it, then the tables compressed.
namespace packed {
inline constexpr uint32_t kVersion = 3;
inline constexpr size_t kHeadBytesAt = 12, kFrameBytesAt = 16, kReservedAt = 24, kTreeHeaderAt = 32;
inline constexpr size_t kHeadBytes = kTreeHeaderAt + kHeaderBytes;
/// zstd's window is at most 8 MiB: the memory of every reader.
inline constexpr int kWindowLog = 23;
}  // namespace packed

}  // namespace hearth::image::format
