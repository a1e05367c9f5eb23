// What a file system entry is besides its content: the words shared by layer archives, layer indexes and mounts.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::oci {

/// Numbers are part of the layer index format: never change one.
enum class FileType : uint8_t {
  regular = 1,
  directory = 2,
  symlink = 3,
  character_device = 4,
  block_device = 5,
  fifo = 6,
  socket = 7,
  whiteout = 8,  // hides the name in the layers below; only in layers that are stacked (never in a merged image)
};

/// S_IFMT bits of a type; a whiteout is a character device (0:0), as overlayfs spells it.
uint32_t type_bits(FileType type);

struct FileTime {
  int64_t seconds = 0;       // since 1970, may be negative
  uint32_t nanoseconds = 0;  // 0..999,999,999, always forward from `seconds`
  auto operator<=>(const FileTime&) const = default;
};

struct Device {
  uint32_t major = 0;  // ≤ 12 bits
  uint32_t minor = 0;  // ≤ 20 bits
  auto operator<=>(const Device&) const = default;
};
inline constexpr uint32_t kMaxDeviceMajor = (1u << 12) - 1;
inline constexpr uint32_t kMaxDeviceMinor = (1u << 20) - 1;

/// 2³²−1 means "no change" to chown(2) and cannot be an owner.
inline constexpr uint32_t kMaxId = 0xFFFF'FFFE;

struct Xattr {
  std::string name;   // with its namespace: "user.x", "security.capability"
  std::string value;  // any bytes
  auto operator<=>(const Xattr&) const = default;
};
inline constexpr size_t kMaxXattrNameBytes = 255;         // XATTR_NAME_MAX
inline constexpr size_t kMaxXattrValueBytes = 64 * 1024;  // XATTR_SIZE_MAX
inline constexpr size_t kMaxNameBytes = 255;              // one path component, NAME_MAX
inline constexpr size_t kMaxPathBytes = 4095;             // a whole path or symlink target, PATH_MAX − 1

struct FileAttributes {
  uint16_t mode = 0755;  // permission bits with setuid, setgid and sticky: 07777
  uint32_t uid = 0;
  uint32_t gid = 0;
  FileTime mtime;
  std::vector<Xattr> xattrs;  // sorted by name, names unique
  bool operator==(const FileAttributes&) const = default;
};

/// A name of any bytes as text for messages: what is not printable ASCII is escaped (\xff), long ones are shortened.
std::string printable(std::string_view name);

}  // namespace hearth::oci
