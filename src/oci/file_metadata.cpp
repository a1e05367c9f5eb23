#include "oci/file_metadata.hpp"

#include <sys/stat.h>

#include <string>
#include <string_view>

namespace hearth::oci {

uint32_t type_bits(FileType type) {
  switch (type) {
    case FileType::regular:
      return S_IFREG;
    case FileType::directory:
      return S_IFDIR;
    case FileType::symlink:
      return S_IFLNK;
    case FileType::character_device:
    case FileType::whiteout:
      return S_IFCHR;
    case FileType::block_device:
      return S_IFBLK;
    case FileType::fifo:
      return S_IFIFO;
    case FileType::socket:
      return S_IFSOCK;
  }
  return 0;
}

std::string printable(std::string_view name) {
  constexpr size_t kShown = 200;
  std::string text;
  for (const char c : name.substr(0, kShown)) {
    if (c >= ' ' && c <= '~' && c != '\\') {
      text += c;
      continue;
    }
    constexpr std::string_view kDigits = "0123456789abcdef";
    const auto byte = static_cast<unsigned char>(c);
    text.append({'\\', 'x', kDigits[byte >> 4u], kDigits[byte & 15u]});
  }
  if (name.size() > kShown) text += "…";
  return text;
}

}  // namespace hearth::oci
