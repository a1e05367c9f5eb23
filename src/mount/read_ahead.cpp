#include "mount/read_ahead.hpp"

#include <algorithm>

namespace hearth::mount {

void ReadAheadWindow::move_on(uint64_t by) {
  ahead_ -= std::min(ahead_, by);
  marker_ -= std::min(marker_, by);
}

bool ReadAheadWindow::continues(uint64_t offset) const {
  const uint64_t behind = std::max(2 * window_, kSlackBytes);
  return offset <= ahead_ + kSlackBytes && offset + behind >= ahead_;
}

std::optional<ReadAheadPlan> ReadAheadWindow::read(uint64_t offset, uint64_t end) {
  if (longest_ == 0) return std::nullopt;
  // Something before the newest window: overtaken by other reads of the same reader.
  if (window_ != 0 && offset < marker_) return std::nullopt;
  window_ = std::min(window_ == 0 ? kFirstBytes : 2 * window_, longest_);
  const ReadAheadPlan plan{std::max(ahead_, end), std::max(ahead_, end) + window_};
  marker_ = plan.begin;
  ahead_ = plan.end;
  return plan;
}

}  // namespace hearth::mount
