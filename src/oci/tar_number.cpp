#include "oci/tar_number.hpp"

#include <algorithm>
#include <charconv>
#include <limits>

namespace hearth::oci {

namespace {

std::optional<int64_t> parse_base256(std::string_view field) {
  const auto first = static_cast<unsigned char>(field.front());
  const bool negative = (first & 0x40u) != 0;
  const unsigned char fill = negative ? 0xFF : 0x00;
  // The marker bit is taken for a copy of the sign.
  uint64_t value = negative ? ~uint64_t{0} : 0;
  for (size_t i = 0; i < field.size(); ++i) {
    auto byte = static_cast<unsigned char>(field[i]);
    if (i == 0) byte = static_cast<unsigned char>(negative ? (byte | 0x80u) : (byte & 0x7Fu));
    if (field.size() - i > sizeof value) {
      if (byte != fill) return std::nullopt;
      continue;
    }
    value = (value << 8u) | byte;
  }
  const auto result = static_cast<int64_t>(value);
  if ((result < 0) != negative) return std::nullopt;
  return result;
}

bool all_digits(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

std::optional<int64_t> parse_header_number(std::string_view field) {
  if (field.empty()) return std::nullopt;
  if ((static_cast<unsigned char>(field.front()) & 0x80u) != 0) return parse_base256(field);
  constexpr std::string_view kBlank(" \0", 2);
  const size_t begin = field.find_first_not_of(kBlank);
  if (begin == std::string_view::npos) return 0;
  const std::string_view digits = field.substr(begin, field.find_last_not_of(kBlank) - begin + 1);
  int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 8);
  if (error != std::errc() || end != digits.data() + digits.size() || digits.front() == '-') return std::nullopt;
  return value;
}

std::optional<int64_t> parse_decimal(std::string_view text) {
  const std::string_view digits = text.starts_with('-') ? text.substr(1) : text;
  if (digits.empty() || !all_digits(digits)) return std::nullopt;
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<FileTime> parse_decimal_time(std::string_view text) {
  const size_t point = std::min(text.find('.'), text.size());
  const auto seconds = parse_decimal(text.substr(0, point));
  if (!seconds) return std::nullopt;
  uint32_t nanoseconds = 0;
  if (point < text.size()) {
    const std::string_view fraction = text.substr(point + 1);
    if (!all_digits(fraction)) return std::nullopt;
    for (size_t i = 0; i < 9; ++i) {
      nanoseconds = nanoseconds * 10 + (i < fraction.size() ? static_cast<uint32_t>(fraction[i] - '0') : 0);
    }
  }
  if (nanoseconds == 0 || !text.starts_with('-')) return FileTime{*seconds, nanoseconds};
  // −1.5 s is half a second after −2 s.
  if (*seconds == std::numeric_limits<int64_t>::min()) return std::nullopt;
  return FileTime{*seconds - 1, 1'000'000'000 - nanoseconds};
}

}  // namespace hearth::oci
