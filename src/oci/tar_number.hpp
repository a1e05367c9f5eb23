// The ways numbers are written in tar headers and PAX records. A field that is no number is an error, never zero.
#pragma once

#include "oci/file_metadata.hpp"

#include <cstdint>
#include <optional>
#include <string_view>

namespace hearth::oci {

/// A header field: octal digits between blanks and zero bytes (nothing = 0), or base-256 (two's complement, big-endian)
/// when its first byte says so. nullopt when it is neither or does not fit.
std::optional<int64_t> parse_header_number(std::string_view field);

/// Decimal digits with an optional '-'.
std::optional<int64_t> parse_decimal(std::string_view text);

/// "1700000000", "-1.5", "12.123456789012": digits beyond nanoseconds are dropped.
std::optional<FileTime> parse_decimal_time(std::string_view text);

}  // namespace hearth::oci
