// Puts the checksums of a fuzzed tar right, so that fuzzers get past them into what matters.
#pragma once

#include "oci/tar_header.hpp"

#include <cstdint>
#include <string>
#include <string_view>

inline void mend_tar_checksums(std::string& bytes, size_t begin) {
  using hearth::oci::kTarBlockBytes;
  for (size_t at = begin; at + kTarBlockBytes <= bytes.size(); at += kTarBlockBytes) {
    if (std::string_view(bytes).substr(at + 257, 5) != "ustar") continue;
    hearth::oci::TarHeader header;
    bytes.copy(header.block.data(), kTarBlockBytes, at);
    auto sum = static_cast<uint64_t>(header.checksum(false));
    for (size_t i = 6; i > 0; --i, sum /= 8) bytes[at + 147 + i] = static_cast<char>('0' + sum % 8);
    bytes[at + 154] = '\0';
  }
}
