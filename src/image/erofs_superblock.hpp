// The head of an EROFS image: its superblock and the table of the devices that hold the content of files.
#pragma once

#include "image/layer_index.hpp"

#include <cstdint>
#include <string>

namespace hearth::image::erofs {

/// More are refused: a device is a number of 16 bits.
inline constexpr uint32_t kMaxDevices = 0xFFFF;

/// Begins of the areas behind the head, in blocks; an area may be empty.
struct Areas {
  uint32_t xattrs = 0;
  uint32_t inodes = 0;
  uint32_t data = 0;
  uint32_t end = 0;
};

/// Blocks that the head takes, for so many devices.
uint32_t head_blocks(uint32_t devices);

/// Exactly that many. Device i + 1 is pack i. `root` is the number of the root directory, below 2^16.
std::string encode_head(const LayerIndex& index, const Areas& areas, uint64_t root);

/// CRC-32C of the bytes without the usual inversion at the end, as the superblock carries it.
uint32_t crc32c(std::string_view bytes);

}  // namespace hearth::image::erofs
