#include "node/request_table.hpp"

#include <utility>

namespace hearth::node {

namespace {
constexpr size_t kFirstCells = 1024;
constexpr size_t kNowhere = ~size_t{0};
constexpr size_t kKeptCapacity = 64 * 1024;  // a larger payload's memory is given back
}  // namespace

RequestTable::RequestTable() : cells_(kFirstCells) {}

size_t RequestTable::home(uint64_t id) const {
  return static_cast<size_t>((id * 0x9E3779B97F4A7C15ULL) >> 17) & (cells_.size() - 1);
}

size_t RequestTable::locate(uint64_t id) const {
  const size_t mask = cells_.size() - 1;
  for (size_t at = home(id); cells_[at].used; at = (at + 1) & mask) {
    if (cells_[at].id == id) return at;
  }
  return kNowhere;
}

void RequestTable::grow() {
  std::vector<Cell> old = std::exchange(cells_, std::vector<Cell>(cells_.size() * 2));
  const size_t mask = cells_.size() - 1;
  for (const Cell& cell : old) {
    if (!cell.used) continue;
    size_t at = home(cell.id);
    while (cells_[at].used) at = (at + 1) & mask;
    cells_[at] = cell;
  }
}

PendingRequest* RequestTable::add(uint64_t id) {
  if ((size_ + 1) * 2 > cells_.size()) grow();
  const size_t mask = cells_.size() - 1;
  size_t at = home(id);
  for (; cells_[at].used; at = (at + 1) & mask) {
    if (cells_[at].id == id) return nullptr;
  }
  uint32_t slot = 0;
  if (free_.empty()) {
    slot = static_cast<uint32_t>(slots_.size());
    slots_.emplace_back();
  } else {
    slot = free_.back();
    free_.pop_back();
  }
  cells_[at] = {id, slot, true};
  ++size_;
  slots_[slot].id = id;
  return &slots_[slot];
}

PendingRequest* RequestTable::find(uint64_t id) {
  const size_t at = locate(id);
  return at == kNowhere ? nullptr : &slots_[cells_[at].slot];
}

void RequestTable::erase(uint64_t id) {
  size_t hole = locate(id);
  if (hole == kNowhere) return;
  PendingRequest& slot = slots_[cells_[hole].slot];
  std::string payload = std::move(slot.payload);
  payload.clear();
  if (payload.capacity() > kKeptCapacity) payload = {};
  slot = {};
  slot.payload = std::move(payload);
  free_.push_back(cells_[hole].slot);
  --size_;
  // Close the gap, so that probing never meets a grave.
  const size_t mask = cells_.size() - 1;
  for (size_t at = (hole + 1) & mask; cells_[at].used; at = (at + 1) & mask) {
    const size_t distance_from_home = (at - home(cells_[at].id)) & mask;
    if (distance_from_home < ((at - hole) & mask)) continue;
    cells_[hole] = cells_[at];
    hole = at;
  }
  cells_[hole] = {};
}

}  // namespace hearth::node
