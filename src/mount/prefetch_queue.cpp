#include "mount/prefetch_queue.hpp"

#include <algorithm>
#include <utility>

namespace hearth::mount {

std::vector<uint32_t> chunks_of_range(const image::LayerIndex& index, uint32_t inode, const FileRange& range) {
  std::vector<uint32_t> chunks;
  const auto file = index.inode(inode);
  for (uint32_t i = first_extent_behind(index, file, range.offset); i < file.count; ++i) {
    const auto extent = index.extent(file, i);
    if (extent.offset >= range.end()) break;
    chunks.push_back(extent.chunk);
  }
  return chunks;
}

PrefetchQueue::PrefetchQueue(std::shared_ptr<const LayerChunks> layer, const PrefetchLimits& limits)
    : layer_(std::move(layer)), limits_(limits), states_(layer_->index().chunk_count(), State::unknown) {}

uint64_t PrefetchQueue::stored_end(uint32_t chunk) const {
  const auto place = layer_->index().location(chunk);
  return place.offset + place.stored_length;
}

void PrefetchQueue::add(const Neighbours::Advice& advice, const IsPresent& is_present) {
  std::vector<uint32_t> fresh;
  const auto want = [this, &fresh, &is_present](uint32_t chunk) {
    if (states_[chunk] != State::unknown) return;
    states_[chunk] = is_present(chunk) ? State::done : State::waiting;
    if (states_[chunk] == State::waiting) fresh.push_back(chunk);
  };
  for (const uint32_t chunk : advice.chunks) want(chunk);
  for (const auto& look : advice.looks) {
    auto pending = std::make_shared<PendingLook>(PendingLook{.look = look});
    for (const uint32_t chunk : chunks_of_range(layer_->index(), look.inode, look.range)) {
      want(chunk);  // not advised when a reader is waiting for it already: we wait with it
      if (states_[chunk] == State::done) continue;
      ++pending->missing;
      looks_[chunk].push_back(pending);
    }
    if (pending->missing == 0) ready_.push_back(look);
  }
  waiting_.insert(waiting_.begin(), fresh.begin(), fresh.end());
}

std::optional<PrefetchQueue::Run> PrefetchQueue::next() {
  while (!waiting_.empty() && states_[waiting_.front()] != State::waiting) waiting_.pop_front();  // came with others
  if (waiting_.empty()) return std::nullopt;
  const uint32_t first = waiting_.front();
  waiting_.pop_front();
  const auto& index = layer_->index();
  const auto place = index.location(first);
  const auto in_pack = layer_->in_pack(place.pack);
  auto at = std::ranges::lower_bound(in_pack, place.plain_offset, {},
                                     [&index](uint32_t chunk) { return index.location(chunk).plain_offset; });
  auto last = at;  // the last wanted one
  for (auto ahead = at + 1; ahead != in_pack.end(); ++ahead) {
    if (index.location(*ahead).offset - stored_end(*last) > limits_.gap_bytes) break;
    if (stored_end(*ahead) - place.offset > limits_.run_bytes) break;
    if (states_[*ahead] == State::waiting) last = ahead;
  }
  Run run{.pack = place.pack, .plain = {}, .chunks = {at, last + 1}};
  for (const uint32_t chunk : run.chunks) {
    if (states_[chunk] != State::done) states_[chunk] = State::flying;
  }
  const auto end = index.location(*last).plain_offset + index.chunk(*last).length;
  run.plain = pages_of(place.plain_offset, end - place.plain_offset);
  return run;
}

void PrefetchQueue::landed(const Run& run, Landed how) {
  for (const uint32_t chunk : run.chunks) {
    states_[chunk] = State::done;  // also when it failed: a reader will fetch it, if one comes
    const auto found = looks_.find(chunk);
    if (found == looks_.end()) continue;
    for (const auto& pending : found->second) {
      if (how == Landed::failed) pending->failed = true;
      if (--pending->missing == 0 && !pending->failed) ready_.push_back(pending->look);
    }
    looks_.erase(found);
  }
}

std::vector<Neighbours::Look> PrefetchQueue::ready() {
  return std::exchange(ready_, {});
}

}  // namespace hearth::mount
