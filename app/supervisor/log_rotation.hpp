// Keeps log files bounded while their writers keep them open.
#pragma once

#include "base/result.hpp"

#include <cstdint>
#include <filesystem>
#include <string>

namespace hearth::supervisor {

struct RotationLimits {
  uint64_t size_max_bytes = uint64_t{16} << 20;
  int kept = 3;  // <log>.1 is the youngest
};

/// When the log is too large, copies it to <log>.1 (older ones move up) and empties it. Writers append (O_APPEND) and
/// need not know; lines written in between may be lost.
Result<> rotate_log(const std::filesystem::path& log, const RotationLimits& limits = {});

/// The last lines of a log, for an error message; nothing of what stood before `from_bytes`.
std::string log_tail(const std::filesystem::path& log, size_t lines, uint64_t from_bytes = 0);

}  // namespace hearth::supervisor
