#include "base/quantity.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>

namespace hearth {

namespace {

struct Split {
  double number = 0;
  std::string_view unit;
};

Result<Split> split_number(std::string_view text) {
  Split split;
  const char* end = text.data() + text.size();
  auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), split.number, std::chars_format::fixed);
  if (error != std::errc() || split.number < 0 || !std::isfinite(split.number)) {
    return fail(ErrorCode::invalid_argument, "'" + std::string(text) + "' does not begin with a number");
  }
  while (rest != end && *rest == ' ') ++rest;
  split.unit = std::string_view(rest, static_cast<size_t>(end - rest));
  return split;
}

}  // namespace

Result<uint64_t> parse_bytes(std::string_view text) {
  struct Unit {
    std::string_view name;
    double factor;
  };
  static constexpr std::array<Unit, 10> kUnits = {{{"", 1},
                                                   {"B", 1},
                                                   {"KB", 1e3},
                                                   {"MB", 1e6},
                                                   {"GB", 1e9},
                                                   {"TB", 1e12},
                                                   {"KiB", 0x1p10},
                                                   {"MiB", 0x1p20},
                                                   {"GiB", 0x1p30},
                                                   {"TiB", 0x1p40}}};
  TRY(auto split, split_number(text));
  for (const Unit& unit : kUnits) {
    if (split.unit != unit.name) continue;
    const double bytes = split.number * unit.factor;
    if (bytes > 0x1p62) return fail(ErrorCode::invalid_argument, "'" + std::string(text) + "' is too large");
    return static_cast<uint64_t>(bytes);
  }
  return fail(ErrorCode::invalid_argument,
              "'" + std::string(text) + "' is not a size; write for example 512MiB or 2GiB");
}

std::string format_bytes(uint64_t bytes) {
  static constexpr std::array<std::string_view, 5> kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

Result<std::chrono::milliseconds> parse_duration(std::string_view text) {
  struct Unit {
    std::string_view name;
    double milliseconds;
  };
  static constexpr std::array<Unit, 5> kUnits = {{{"ms", 1}, {"s", 1e3}, {"m", 60e3}, {"h", 3600e3}, {"d", 86400e3}}};
  TRY(auto split, split_number(text));
  for (const Unit& unit : kUnits) {
    if (split.unit != unit.name) continue;
    const double ms = split.number * unit.milliseconds;
    if (ms > 1e15) return fail(ErrorCode::invalid_argument, "'" + std::string(text) + "' is too long");
    return std::chrono::milliseconds(static_cast<int64_t>(std::llround(ms)));
  }
  return fail(ErrorCode::invalid_argument,
              "'" + std::string(text) + "' is not a duration; write for example 500ms, 30s or 10m");
}

std::string format_duration(std::chrono::milliseconds duration) {
  const int64_t ms = duration.count();
  if (ms % 1000 != 0) return ms < 1000 ? fmt::format("{}ms", ms) : fmt::format("{:g}s", static_cast<double>(ms) / 1e3);
  if (ms % 60'000 != 0 || ms == 0) return fmt::format("{}s", ms / 1000);
  if (ms % 3'600'000 != 0) return fmt::format("{}m", ms / 60'000);
  return fmt::format("{}h", ms / 3'600'000);
}

}  // namespace hearth
