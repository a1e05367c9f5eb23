#include "holder/presence_file.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>

namespace hearth::holder {

namespace {

constexpr uint32_t kHeaderBytesMax = 1 << 20;
constexpr uint32_t kPageBytesMin = 4096;
constexpr uint32_t kPageBytesMax = 1 << 20;

/// Bits [from, to) of bytes whose first bit is `from` rounded down to a byte.
bool all_set(const unsigned char* bytes, uint64_t from, uint64_t to) {
  const uint64_t first = from / 8;
  for (uint64_t byte = first; byte * 8 < to; ++byte) {
    unsigned wanted = 0xFF;
    if (byte == first) wanted &= 0xFFU << (from % 8);
    if (to - byte * 8 < 8) wanted &= (1U << (to - byte * 8)) - 1;
    if ((bytes[byte - first] & wanted) != (wanted & 0xFF)) return false;
  }
  return true;
}

}  // namespace

Result<PresenceFile> PresenceFile::open(UniqueFd file, const Format& format) {
  if (format.header_bytes > kHeaderBytesMax || format.page_bytes < kPageBytesMin || format.page_bytes > kPageBytesMax ||
      !std::has_single_bit(format.page_bytes)) {
    return fail(ErrorCode::invalid_argument, "track: no such presence format");
  }
  struct stat info{};
  if (::fstat(file.get(), &info) != 0) return fail_errno("track: look at the presence file", errno);
  const uint64_t pages = format.data_bytes / format.page_bytes + (format.data_bytes % format.page_bytes != 0 ? 1 : 0);
  if (!S_ISREG(info.st_mode) || static_cast<uint64_t>(info.st_size) < format.header_bytes + (pages + 7) / 8) {
    return fail(ErrorCode::invalid_argument,
                "track: the presence file has no bit for each of " + std::to_string(pages) + " pages");
  }
  return PresenceFile(std::move(file), format);
}

PresenceFile::PresenceFile(UniqueFd file, const Format& format)
    : file_(std::move(file)),
      header_bytes_(format.header_bytes),
      page_shift_(static_cast<unsigned>(std::countr_zero(format.page_bytes))),
      data_bytes_(format.data_bytes) {}

uint64_t PresenceFile::page_end(uint64_t end) const {
  if (end >= data_bytes_) return data_bytes_;
  const uint64_t page = uint64_t{1} << page_shift_;
  return std::min(data_bytes_, page_begin(end + page - 1));
}

bool PresenceFile::all_present(uint64_t offset, uint64_t end) const {
  const uint64_t stop = std::min(end, data_bytes_);
  if (offset >= stop) return true;
  uint64_t bit = offset >> page_shift_;
  const uint64_t last = (stop - 1) >> page_shift_;
  unsigned char bytes[512];
  while (bit <= last) {
    const uint64_t first_byte = bit / 8;
    const uint64_t to = std::min(last + 1, (first_byte + sizeof bytes) * 8);
    const size_t wanted = (to + 7) / 8 - first_byte;
    const ssize_t got = ::pread(file_.get(), bytes, wanted, static_cast<off_t>(header_bytes_ + first_byte));
    if (got != static_cast<ssize_t>(wanted) || !all_set(bytes, bit, to)) return false;
    bit = to;
  }
  std::atomic_thread_fence(std::memory_order_acquire);
  return true;
}

}  // namespace hearth::holder
