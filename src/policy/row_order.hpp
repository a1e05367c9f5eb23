// The order of batch results: numbers by value, then strings. Works on JSON text; pure.
#pragma once

#include "base/result.hpp"

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::policy {

/// Compares two row ids given as valid JSON text of a number or a string. Numbers compare by exact decimal value
/// (1 == 1.0 == 10e-1, 2^70 is no float), strings by code point after unescaping, numbers before strings.
std::strong_ordering compare_row_ids(std::string_view a, std::string_view b);

/// Positions of the ids in ascending order. invalid_argument names an id that is given twice.
Result<std::vector<uint32_t>> order_rows(const std::vector<std::string_view>& ids);

/// Content of a JSON string literal (quotes included in the input), as UTF-8. The literal is valid.
std::string unescape_json(std::string_view literal);

}  // namespace hearth::policy
