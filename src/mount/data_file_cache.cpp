#include "mount/data_file_cache.hpp"

#include "mount/page_range.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

namespace hearth::mount {

namespace {

constexpr uint64_t kWindows = 8;
constexpr uint64_t kWindowPages = 256;

/// linux/mman.h of Linux 6.5, which older headers lack.
constexpr long kCachestat = 451;
struct CachestatRange {
  uint64_t offset;
  uint64_t length;
};
struct Cachestat {
  uint64_t cached;
  uint64_t dirty;
  uint64_t writeback;
  uint64_t evicted;
  uint64_t recently_evicted;
};

uint64_t cached_pages(int file, uint64_t first_page, uint64_t pages) {
  CachestatRange range{.offset = first_page * kPageBytes, .length = pages * kPageBytes};
  Cachestat seen{};
  if (::syscall(kCachestat, file, &range, &seen, 0U) != 0) return pages;
  return std::min(seen.cached, pages);
}

}  // namespace

bool can_be_read_directly(int file) {
  struct statx status{};
  if (::statx(file, "", AT_EMPTY_PATH, STATX_DIOALIGN, &status) != 0 || (status.stx_mask & STATX_DIOALIGN) == 0) {
    return false;
  }
  const auto fits = [](uint32_t alignment) { return alignment != 0 && alignment <= kPageBytes; };
  return fits(status.stx_dio_offset_align) && fits(status.stx_dio_mem_align);
}

CachedPages sample_page_cache(int file, uint64_t size) {
  const uint64_t pages = (size + kPageBytes - 1) / kPageBytes;
  const uint64_t stride = std::max(pages / kWindows, kWindowPages);
  CachedPages all;
  for (uint64_t first = 0; first < pages; first += stride) {
    const uint64_t window = std::min(kWindowPages, pages - first);
    all.looked_at += window;
    all.cached += cached_pages(file, first, window);
  }
  return all;
}

}  // namespace hearth::mount
