// Where the fields of a bundle's head lie, for its writer and its decoder. The document is docs/formats/bundle.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace hearth::image::bundle_format {

inline constexpr std::string_view kMagic = "HRTHBNDL";
inline constexpr uint32_t kVersion = 1;
inline constexpr size_t kVersionAt = 8, kFixedBytesAt = 12, kHeadBytesAt = 16, kPlainBytesAt = 24, kStreamBytesAt = 32,
                        kHistoryBytesAt = 40, kLayerAt = 48, kHistoryAt = 80, kRunsAt = 112, kReservedAt = 116;
inline constexpr size_t kFixedBytes = 128;
inline constexpr size_t kRunBytes = 8;
/// zstd's window is at most 16 MiB: the memory of every reader.
inline constexpr int kWindowLog = 24;

}  // namespace hearth::image::bundle_format
