// The known word a mistyped one most resembles.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::app {

/// Nothing when no known word is close (more than a third of the letters would have to change).
std::optional<std::string> nearest_word(std::string_view word, const std::vector<std::string>& known);

}  // namespace hearth::app
