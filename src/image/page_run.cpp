#include "image/page_run.hpp"

#include <algorithm>
#include <bit>

namespace hearth::image {

namespace {

constexpr uint32_t kWordBits = 64;

constexpr uint64_t bit_of(uint32_t page) {
  return uint64_t{1} << (page % kWordBits);
}

}  // namespace

uint64_t bytes_of(const PageRuns& runs) {
  uint64_t total = 0;
  for (const PageRun& run : runs) total += bytes_of(run);
  return total;
}

bool fits(const PageRuns& runs, const LayerIndex& index) {
  return std::ranges::all_of(runs, [&index](const PageRun& run) {
    if (!is_valid(run) || run.chunk >= index.chunk_count()) return false;
    const uint32_t pages = (index.chunk(run.chunk).length + kPageBytes - 1) / kPageBytes;
    return uint32_t{run.first} + run.pages <= pages;
  });
}

void PageSet::insert(const PageRun& run, PageRuns* added) {
  Bits& bits = chunks_[run.chunk];
  const uint32_t end = std::min<uint32_t>(uint32_t{run.first} + run.pages, kPagesPerChunk);
  bool extends = false;  // the page before was added too
  for (uint32_t page = run.first; page < end; ++page) {
    uint64_t& word = bits[page / kWordBits];
    const bool is_new = (word & bit_of(page)) == 0;
    if (is_new) {
      word |= bit_of(page);
      ++pages_;
    }
    if (is_new && added != nullptr) {
      if (!extends) added->push_back({run.chunk, static_cast<uint16_t>(page), 0});
      ++added->back().pages;
    }
    extends = is_new;
  }
}

bool PageSet::contains(uint32_t chunk, uint32_t page) const {
  const auto found = chunks_.find(chunk);
  return found != chunks_.end() && page < kPagesPerChunk && (found->second[page / kWordBits] & bit_of(page)) != 0;
}

uint32_t PageSet::count(const PageRun& run) const {
  uint32_t total = 0;
  for (uint32_t i = 0; i < run.pages; ++i) total += contains(run.chunk, uint32_t{run.first} + i) ? 1 : 0;
  return total;
}

uint64_t PageSet::pages_in_both(const PageSet& other) const {
  uint64_t total = 0;
  for (const auto& [chunk, bits] : chunks_) {
    const auto found = other.chunks_.find(chunk);
    if (found == other.chunks_.end()) continue;
    for (size_t i = 0; i < bits.size(); ++i) total += static_cast<uint64_t>(std::popcount(bits[i] & found->second[i]));
  }
  return total;
}

}  // namespace hearth::image
