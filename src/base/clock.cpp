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

}  // namespace hearth
