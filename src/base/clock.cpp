#include "base/clock.hpp"

#include <algorithm>

namespace hearth {

namespace {

/// `count` digits of a number that has no more, with leading zeros.
void put_digits(char* at, int64_t number, int count) {
  for (int i = count - 1; i >= 0; --i, number /= 10) at[i] = static_cast<char>('0' + number % 10);
}

}  // namespace

// By hand: every request's record has one, and formatting by pattern costs more than all the record's numbers.
std::string to_iso8601(WallTime time) {
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(std::chrono::floor<microseconds>(time - day));
  std::string text = "0000-00-00T00:00:00.000000Z";
  put_digits(&text[0], std::clamp(static_cast<int>(date.year()), 0, 9999), 4);
  put_digits(&text[5], static_cast<unsigned>(date.month()), 2);
  put_digits(&text[8], static_cast<unsigned>(date.day()), 2);
  put_digits(&text[11], clock.hours().count(), 2);
  put_digits(&text[14], clock.minutes().count(), 2);
  put_digits(&text[17], clock.seconds().count(), 2);
  put_digits(&text[20], clock.subseconds().count(), 6);
  return text;
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
  constexpr int kLastWholeYear = 2261;  // of a clock that counts nanoseconds in 64 bits
  if (*year > kLastWholeYear) return WallTime::max();

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
