#include "mount/reader_streams.hpp"

#include <algorithm>

namespace hearth::mount {

ReaderStreams::Pack& ReaderStreams::of(const std::shared_ptr<PackFile>& pack) {
  auto& known = packs_[pack.get()];
  if (!known.file) known.file = pack;
  return known;
}

std::vector<ReaderStreams::Order> ReaderStreams::read(const std::shared_ptr<PackFile>& pack, const PageRange& range,
                                                      uint64_t covered_end, MonoTime now) {
  if (longest_ == 0) return {};
  auto& readers = of(pack).readers;
  const auto known =
      std::ranges::find_if(readers, [&range](const Reader& r) { return r.window.continues(range.offset); });
  if (known == readers.end()) {
    if (readers.size() >= kReadersAPack) {
      readers.erase(std::ranges::min_element(readers, {}, &Reader::last));
    }
    readers.push_back({ReadAheadWindow(covered_end, longest_), now, std::nullopt});
    return {};
  }
  known->last = now;
  const auto plan = known->window.read(range.offset, covered_end);
  return plan ? orders(pack, known, *plan) : std::vector<Order>();
}

/// What lies beyond the end of the pack is the begin of the next one; a reader all of whose window does moves there.
std::vector<ReaderStreams::Order> ReaderStreams::orders(const std::shared_ptr<PackFile>& pack,
                                                        std::list<Reader>::iterator reader, const ReadAheadPlan& plan) {
  std::vector<Order> result;
  const uint64_t size = pack->plain_size();
  const auto next = plan.end > size ? pack->next() : nullptr;
  reader->mark.reset();
  if (plan.begin < size) {
    result.push_back({pack, {plan.begin, std::min(plan.end, size) - plan.begin}, true});
    reader->mark = plan.begin;
  }
  if (!next) return result;
  const uint64_t begin = plan.begin < size ? 0 : plan.begin - size;
  const uint64_t end = std::min(plan.end - size, next->plain_size());
  if (begin < end) result.push_back({next, {begin, end - begin}, plan.begin >= size});
  if (plan.begin >= size) {
    reader->window.move_on(size);
    if (begin < end) reader->mark = begin;
    auto& here = packs_[pack.get()].readers;
    auto& there = of(next).readers;
    there.splice(there.end(), here, reader);
  }
  return result;
}

std::vector<ReaderStreams::Order> ReaderStreams::forget_idle(MonoTime now) {
  std::vector<Order> result;
  for (auto pack = packs_.begin(); pack != packs_.end();) {
    auto& readers = pack->second.readers;
    for (auto reader = readers.begin(); reader != readers.end();) {
      if (now - reader->last < kIdle) {
        ++reader;
        continue;
      }
      if (reader->mark) result.push_back({pack->second.file, {*reader->mark, kPageBytes}, false});
      reader = readers.erase(reader);
    }
    pack = readers.empty() ? packs_.erase(pack) : std::next(pack);
  }
  return result;
}

}  // namespace hearth::mount
