#include "mount/fetch_queue.hpp"

#include <algorithm>
#include <iterator>

namespace hearth::mount {

void FetchQueue::add(QueuedChunk& chunk) {
  auto& line = lines_[static_cast<size_t>(chunk.precedence)];
  chunk.at_ = line.insert(line.end(), &chunk);
  bytes_[static_cast<size_t>(chunk.precedence)] += chunk.stored_length;
  by_place_.emplace(std::pair{chunk.pack_id, chunk.stored_offset}, &chunk);
}

void FetchQueue::remove(QueuedChunk& chunk) {
  lines_[static_cast<size_t>(chunk.precedence)].erase(chunk.at_);
  bytes_[static_cast<size_t>(chunk.precedence)] -= chunk.stored_length;
  by_place_.erase({chunk.pack_id, chunk.stored_offset});
}

void FetchQueue::promote(QueuedChunk& chunk, FetchClass to) {
  remove(chunk);
  chunk.precedence = to;
  add(chunk);
}

std::vector<QueuedChunk*> FetchQueue::take(FetchClass precedence, uint64_t run_bytes) {
  if (empty(precedence)) return {};
  QueuedChunk* const first = line(precedence).front();
  const auto here = by_place_.find({first->pack_id, first->stored_offset});
  uint64_t begin = first->stored_offset;
  uint64_t end = begin + first->stored_length;
  const auto fits = [&](const QueuedChunk& other) {
    if (other.pack_id != first->pack_id || other.precedence != precedence) return false;
    const uint64_t other_end = other.stored_offset + other.stored_length;
    const uint64_t gap = other.stored_offset > end ? other.stored_offset - end : begin - std::min(begin, other_end);
    return gap <= kRunGapBytesMax && std::max(end, other_end) - std::min(begin, other.stored_offset) <= run_bytes;
  };
  std::vector<QueuedChunk*> run;
  for (auto at = here; at != by_place_.begin() && fits(*std::prev(at)->second);) {
    --at;
    begin = at->second->stored_offset;
    run.push_back(at->second);
  }
  std::ranges::reverse(run);
  run.push_back(first);
  for (auto at = std::next(here); at != by_place_.end() && fits(*at->second); ++at) {
    end = at->second->stored_offset + at->second->stored_length;
    run.push_back(at->second);
  }
  for (QueuedChunk* chunk : run) remove(*chunk);
  return run;
}

std::optional<NextRun> next_run(const FetchQueue& queue, const FetchLoad& load) {
  const int idle = load.workers - load.running;
  if (idle <= 0) return std::nullopt;
  const auto has_bytes = [&load](uint64_t limit) { return load.in_flight_bytes == 0 || load.in_flight_bytes < limit; };
  if (!queue.empty(FetchClass::demand)) {
    if (!has_bytes(load.in_flight_max)) return std::nullopt;
    const uint64_t share = queue.bytes(FetchClass::demand) / static_cast<uint64_t>(idle);
    return NextRun{FetchClass::demand, std::clamp(share, kDemandRunBytesMin, kRunBytesMax)};
  }
  if (!has_bytes(load.in_flight_max / 2)) return std::nullopt;
  const bool beside_demand = load.running > load.running_background;
  const auto may_run = [&](int share) {
    return load.running_background < std::max(1, beside_demand ? load.workers / 4 : share);
  };
  if (!queue.empty(FetchClass::ahead) && may_run(load.workers * 3 / 4)) {
    return NextRun{FetchClass::ahead, kBackgroundRunBytes};
  }
  if (!queue.empty(FetchClass::prefetch) && may_run(load.workers / 2)) {
    return NextRun{FetchClass::prefetch, kBackgroundRunBytes};
  }
  return std::nullopt;
}

}  // namespace hearth::mount
