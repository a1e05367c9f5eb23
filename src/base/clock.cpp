#include "base/clock.hpp"

#include <fmt/format.h>

#include <ctime>

namespace hearth {

std::string to_iso8601(WallTime time) {
  const int64_t us = to_unix_us(time);
  int64_t whole = us / 1'000'000;
  int64_t fraction = us % 1'000'000;
  if (fraction < 0) {
    fraction += 1'000'000;
    --whole;
  }
  const std::time_t t = whole;
  std::tm parts{};
  ::gmtime_r(&t, &parts);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z", parts.tm_year + 1900, parts.tm_mon + 1,
                     parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec, fraction);
}

namespace {

/// The digits of text[at, at + count) as a number; nullopt when one is no digit.
std::optional<int> digits(std::string_view text, size_t at, size_t count) {
  int value = 0;
  for (size_t i = at; i < at + count; ++i) {
    if (text[i] < '0' || text[i] > '9') return std::nullopt;
    value = value * 10 + (text[i] - '0');
  }
  return value;
}

}  // namespace

std::optional<WallTime> from_iso8601(std::string_view text) {
  constexpr std::string_view kShape = "0000-00-00T00:00:00";
  if (text.size() < kShape.size() + 1 || text.size() > kShape.size() + 11 || !text.ends_with('Z')) return std::nullopt;
  for (size_t i = 0; i < kShape.size(); ++i) {
    if (kShape[i] != '0' && text[i] != kShape[i]) return std::nullopt;
  }
  const auto year = digits(text, 0, 4), month = digits(text, 5, 2), day = digits(text, 8, 2);
  const auto hour = digits(text, 11, 2), minute = digits(text, 14, 2), second = digits(text, 17, 2);
  if (!year || !month || !day || !hour || !minute || !second) return std::nullopt;
  const bool in_range =
      *month >= 1 && *month <= 12 && *day >= 1 && *day <= 31 && *hour < 24 && *minute < 60 && *second <= 60;
  if (!in_range || *year < 1970) return std::nullopt;

  int64_t fraction_ns = 0;
  const std::string_view fraction = text.substr(kShape.size(), text.size() - kShape.size() - 1);
  if (!fraction.empty()) {
    if (fraction[0] != '.' || fraction.size() < 2) return std::nullopt;
    const auto value = digits(fraction, 1, fraction.size() - 1);
    if (!value) return std::nullopt;
    fraction_ns = *value;
    for (size_t i = fraction.size() - 1; i < 9; ++i) fraction_ns *= 10;
  }
  std::tm parts{};
  parts.tm_year = *year - 1900;
  parts.tm_mon = *month - 1;
  parts.tm_mday = *day;
  parts.tm_hour = *hour;
  parts.tm_min = *minute;
  parts.tm_sec = *second;
  const std::time_t t = ::timegm(&parts);
  return WallTime(std::chrono::duration_cast<WallTime::duration>(seconds(t) + std::chrono::nanoseconds(fraction_ns)));
}

}  // namespace hearth
