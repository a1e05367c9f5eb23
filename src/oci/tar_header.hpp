// One 512-byte tar header block.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace hearth::oci {

inline constexpr size_t kTarBlockBytes = 512;

struct TarHeader {
  std::array<char, kTarBlockBytes> block{};

  std::string_view field(size_t offset, size_t length) const { return std::string_view(block.data() + offset, length); }
  /// A field up to its first zero byte.
  std::string_view text(size_t offset, size_t length) const {
    const std::string_view all = field(offset, length);
    return all.substr(0, all.find('\0'));
  }
  char type() const { return block[156]; }
  bool is_posix() const { return field(257, 6) == std::string_view("ustar\0", 6); }
  bool is_gnu() const { return field(257, 8) == std::string_view("ustar  \0", 8); }
  bool is_star() const { return is_posix() && field(508, 4) == std::string_view("tar\0", 4); }
  bool is_zero() const {
    return std::ranges::all_of(block, [](char c) { return c == '\0'; });
  }

  /// Name with the prefix that ustar and star have.
  std::string name() const {
    std::string name(text(0, 100));
    if (!is_posix()) return name;
    const std::string_view prefix = text(345, is_star() ? 131 : 155);
    if (!prefix.empty()) name = std::string(prefix) + "/" + name;
    return name;
  }
  /// Sum of all bytes, the checksum field taken as blanks. Old programs summed signed bytes.
  int64_t checksum(bool bytes_are_signed) const {
    int64_t sum = 0;
    for (size_t i = 0; i < block.size(); ++i) {
      const char c = i >= 148 && i < 156 ? ' ' : block[i];
      sum += bytes_are_signed ? static_cast<int64_t>(static_cast<signed char>(c))
                              : static_cast<int64_t>(static_cast<unsigned char>(c));
    }
    return sum;
  }
};

}  // namespace hearth::oci
