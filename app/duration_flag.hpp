// A duration on the command line: "30s", "2h", or 0.
#pragma once

#include "base/clock.hpp"
#include "base/quantity.hpp"

#include <CLI/CLI.hpp>

#include <string>

namespace hearth::app {

/// Throws CLI::ValidationError: wrong use.
inline milliseconds duration_of(const std::string& text, const char* flag) {
  if (text == "0") return milliseconds(0);
  const auto duration = parse_duration(text);
  if (!duration) throw CLI::ValidationError(flag, duration.error().message);
  return *duration;
}

}  // namespace hearth::app
