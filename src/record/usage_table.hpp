// Usage: what was served to whom, summed by version, key and minute. Rows add up, so that summing loses nothing.
#pragma once

#include "base/clock.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace hearth::record {

struct UsageKey {
  std::string workspace;
  std::string model;
  std::string branch;
  uint32_t version = 0;
  std::string key_id;
  int64_t minute = 0;  // since 1970: when the requests started

  auto operator<=>(const UsageKey&) const = default;
};

struct UsageCounts {
  uint64_t requests = 0;
  uint64_t failed = 0;  // answered with a status from 400
  uint64_t rows = 0;
  uint64_t failed_rows = 0;
  uint64_t run_us = 0;
  uint64_t cpu_us = 0;
  uint64_t bytes_in = 0;
  uint64_t bytes_out = 0;

  UsageCounts& operator+=(const UsageCounts& other);
};

/// Not thread-safe.
class UsageTable {
 public:
  /// A line of a segment: a request, or a row of usage. False when it is neither.
  bool add_line(std::string_view line);
  void add(const UsageKey& key, const UsageCounts& counts) { rows_[key] += counts; }

  /// Rows as JSON lines, each with '\n', in a fixed order. Of one workspace, or of all when it is empty.
  std::string to_lines(std::string_view workspace = {}) const;

  const std::map<UsageKey, UsageCounts>& rows() const { return rows_; }
  bool empty() const { return rows_.empty(); }
  void clear() { rows_.clear(); }

 private:
  std::map<UsageKey, UsageCounts> rows_;
};

}  // namespace hearth::record
