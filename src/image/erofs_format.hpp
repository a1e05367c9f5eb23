// The part of EROFS's on-disk format that our writer uses: sizes, field offsets and numbers, little-endian, as the
// kernel reads them (Documentation/filesystems/erofs.rst). What we make of it is docs/formats/erofs.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace hearth::image::erofs {

inline constexpr uint32_t kBlockBits = 12;
inline constexpr uint32_t kBlockBytes = 1u << kBlockBits;  // of the file system: no relation to a chunk's blocks
inline constexpr uint32_t kSlotBytes = 32;                 // inodes begin at multiples; a nid counts them
inline constexpr uint32_t kNullAddress = 0xFFFF'FFFF;      // block of a chunk that is a hole

inline constexpr uint64_t round_up(uint64_t value, uint64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

namespace superblock {
inline constexpr size_t kAt = 1024, kBytes = 128;
inline constexpr size_t kMagicAt = 0, kChecksumAt = 4, kCompatAt = 8, kBlockBitsAt = 12, kRootNidAt = 14,
                        kInodesAt = 16, kBlocksAt = 36, kInodeAreaAt = 40, kXattrAreaAt = 44, kUuidAt = 48,
                        kUuidBytes = 16, kNameAt = 64, kIncompatAt = 80, kDevicesAt = 86, kDeviceTableAt = 88;
inline constexpr uint32_t kMagic = 0xE0F5'E1E2;
inline constexpr uint32_t kCompatChecksum = 0x1, kCompatMtime = 0x2;
inline constexpr uint32_t kIncompatChunkedFile = 0x4, kIncompatDeviceTable = 0x8;
}  // namespace superblock

namespace device_slot {
inline constexpr size_t kBytes = 128, kTagAt = 0, kTagBytes = 64, kBlocksAt = 64;
}  // namespace device_slot

/// The extended inode: 64 bytes, behind it the xattrs, behind them inline data or chunk indexes.
namespace inode {
inline constexpr size_t kBytes = 64;
inline constexpr size_t kFormatAt = 0, kXattrCountAt = 2, kModeAt = 4, kSizeAt = 8, kUnionAt = 16, kNumberAt = 20,
                        kUidAt = 24, kGidAt = 28, kSecondsAt = 32, kNanosecondsAt = 40, kLinksAt = 44;
inline constexpr uint16_t kExtended = 1;  // bit 0 of the format
inline constexpr uint16_t kLayoutShift = 1;
}  // namespace inode

/// How the data of an inode is found.
enum class DataLayout : uint8_t {
  plain = 0,    // a run of blocks of the image; also where there is no data
  inlined = 2,  // behind the inode, within its block
  chunks = 4,   // an index for each chunk behind the inode, the data on devices
};

namespace chunk {
inline constexpr size_t kIndexBytes = 8, kDeviceAt = 2, kBlockAt = 4;
inline constexpr uint16_t kWithIndexes = 0x20;  // of the format; below it the chunk size in bits above the block size
inline constexpr uint32_t kMaxBits = kBlockBits + 31;
}  // namespace chunk

namespace dirent {
inline constexpr size_t kBytes = 12, kNidAt = 0, kNameAt = 8, kTypeAt = 10;
}  // namespace dirent

namespace xattr {
inline constexpr size_t kBodyHeaderBytes = 12, kSharedCountAt = 4, kIdBytes = 4, kEntryHeaderBytes = 4;
inline constexpr size_t kMaxShared = 255, kMaxValueBytes = 0xFFFF;
/// The count of an inode is 16 bits: the header counts as one, every further 4 bytes as one more.
inline constexpr uint64_t kMaxBodyBytes = kBodyHeaderBytes + (0xFFFF - 1) * kIdBytes;

/// Namespaces that EROFS knows. A name is stored without its prefix; `whole` means that the prefix is the name.
struct Prefix {
  std::string_view text;
  uint8_t number;
  bool whole;
};
inline constexpr Prefix kPrefixes[] = {
    {"user.", 1, false},
    {"system.posix_acl_access", 2, true},
    {"system.posix_acl_default", 3, true},
    {"trusted.", 4, false},
    {"security.", 6, false},
};
}  // namespace xattr

}  // namespace hearth::image::erofs
