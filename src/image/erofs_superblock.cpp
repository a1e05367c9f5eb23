#include "image/erofs_superblock.hpp"

#include "base/little_endian.hpp"
#include "image/erofs_format.hpp"

#include <algorithm>
#include <array>
#include <string_view>

namespace hearth::image::erofs {

namespace {

constexpr std::string_view kVolumeName = "hearth layer";  // at most 15 bytes
constexpr size_t kDeviceTableAt = superblock::kAt + superblock::kBytes;
static_assert(kDeviceTableAt % device_slot::kBytes == 0);

constexpr std::array<uint32_t, 256> make_crc_table() {
  constexpr uint32_t kCastagnoli = 0x82F6'3B78;
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < table.size(); ++i) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? kCastagnoli : 0);
    table[i] = value;
  }
  return table;
}

/// The digest's begin, marked as a UUID of version 8 (of the maker's own kind).
std::array<char, superblock::kUuidBytes> uuid_of(const Digest& digest) {
  std::array<char, superblock::kUuidBytes> uuid{};
  std::copy_n(digest.bytes().begin(), uuid.size(), uuid.begin());
  uuid[6] = static_cast<char>((uuid[6] & 0x0F) | 0x80);
  uuid[8] = static_cast<char>((uuid[8] & 0x3F) | 0x80);
  return uuid;
}

void put_superblock(const LayerIndex& index, const Areas& areas, uint64_t root, char* at) {
  namespace sb = superblock;
  store_le(at + sb::kMagicAt, sb::kMagic);
  store_le(at + sb::kCompatAt, sb::kCompatChecksum | sb::kCompatMtime);
  store_le(at + sb::kBlockBitsAt, static_cast<uint8_t>(kBlockBits));
  store_le(at + sb::kRootNidAt, static_cast<uint16_t>(root));
  store_le(at + sb::kInodesAt, uint64_t{index.inode_count()});
  store_le(at + sb::kBlocksAt, areas.end);
  store_le(at + sb::kInodeAreaAt, areas.inodes - 1);  // Layout::kFirstNid says why
  store_le(at + sb::kXattrAreaAt, areas.xattrs);
  const auto uuid = uuid_of(index.digest());
  std::copy(uuid.begin(), uuid.end(), at + sb::kUuidAt);
  std::copy(kVolumeName.begin(), kVolumeName.end(), at + sb::kNameAt);
  if (index.pack_count() == 0) {
    store_le(at + sb::kIncompatAt, sb::kIncompatChunkedFile);
    return;
  }
  store_le(at + sb::kIncompatAt, sb::kIncompatChunkedFile | sb::kIncompatDeviceTable);
  store_le(at + sb::kDevicesAt, static_cast<uint16_t>(index.pack_count()));
  store_le(at + sb::kDeviceTableAt, static_cast<uint16_t>(kDeviceTableAt / device_slot::kBytes));
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  static constexpr auto kTable = make_crc_table();
  uint32_t value = ~0U;
  for (const char byte : bytes) value = kTable[(value ^ static_cast<uint8_t>(byte)) & 0xFF] ^ (value >> 8);
  return value;
}

uint32_t head_blocks(uint32_t devices) {
  return static_cast<uint32_t>(round_up(kDeviceTableAt + uint64_t{devices} * device_slot::kBytes, kBlockBytes) /
                               kBlockBytes);
}

std::string encode_head(const LayerIndex& index, const Areas& areas, uint64_t root) {
  std::string head(uint64_t{head_blocks(index.pack_count())} * kBlockBytes, '\0');
  put_superblock(index, areas, root, head.data() + superblock::kAt);
  for (uint32_t i = 0; i < index.pack_count(); ++i) {
    const PackInfo pack = index.pack(i);
    char* slot = head.data() + kDeviceTableAt + uint64_t{i} * device_slot::kBytes;
    const std::string tag = pack.digest.hex();
    static_assert(Digest::kSize * 2 == device_slot::kTagBytes);
    std::copy(tag.begin(), tag.end(), slot + device_slot::kTagAt);
    store_le(slot + device_slot::kBlocksAt, static_cast<uint32_t>(pack.plain_size / kBlockBytes));
  }
  // Of the first block from the superblock on, the checksum itself as 0.
  const auto checksum = crc32c(std::string_view(head).substr(superblock::kAt, kBlockBytes - superblock::kAt));
  store_le(head.data() + superblock::kAt + superblock::kChecksumAt, checksum);
  return head;
}

}  // namespace hearth::image::erofs
