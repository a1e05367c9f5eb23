// Sizes and durations as people write them: "1GiB", "256 MiB", "30s", "10m".
#pragma once

#include "base/result.hpp"

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace hearth {

/// Bytes from "4096", "64KiB", "1.5GiB", "10MB". Units: B, KB/MB/GB/TB (10³), KiB/MiB/GiB/TiB (2¹⁰).
Result<uint64_t> parse_bytes(std::string_view text);
/// "1.5 GiB", "12 B".
std::string format_bytes(uint64_t bytes);

/// Milliseconds from "250ms", "30s", "10m", "2h", "1d". A bare number has no unit and is refused.
Result<std::chrono::milliseconds> parse_duration(std::string_view text);
/// "250ms", "30s", "10m", "1.5s".
std::string format_duration(std::chrono::milliseconds duration);

}  // namespace hearth
