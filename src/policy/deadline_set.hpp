// The requests that wait, by the time their deadline passes. Pure; not thread-safe.
#pragma once

#include "base/clock.hpp"

#include <cstdint>
#include <optional>
#include <set>
#include <utility>
#include <vector>

namespace hearth::policy {

class DeadlineSet {
 public:
  void add(uint64_t request, Deadline deadline) {
    if (const auto at = deadline.at()) waiting_.emplace(*at, request);
  }
  void remove(uint64_t request, Deadline deadline) {
    if (const auto at = deadline.at()) waiting_.erase({*at, request});
  }
  /// Takes out all whose deadline has passed, earliest first.
  std::vector<uint64_t> take_passed(MonoTime now) {
    std::vector<uint64_t> passed;
    while (!waiting_.empty() && waiting_.begin()->first <= now) {
      passed.push_back(waiting_.begin()->second);
      waiting_.erase(waiting_.begin());
    }
    return passed;
  }
  std::optional<MonoTime> earliest() const {
    if (waiting_.empty()) return std::nullopt;
    return waiting_.begin()->first;
  }
  size_t size() const { return waiting_.size(); }

 private:
  std::set<std::pair<MonoTime, uint64_t>> waiting_;
};

}  // namespace hearth::policy
