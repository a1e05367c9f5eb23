// Which pages of a file are there: a bit each, behind a header, in a file that imagefs writes and the holder reads.
#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"

#include <cstdint>

namespace hearth::holder {

/// Read with pread(2), not mapped: a file that somebody truncates costs a wrong "no", not a SIGBUS.
class PresenceFile {
 public:
  struct Format {
    uint32_t header_bytes = 0;
    uint32_t page_bytes = 0;
    uint64_t data_bytes = 0;  // size of the file it speaks of
  };
  /// invalid_argument when it is no regular file, has too few bits, or the format makes no sense.
  static Result<PresenceFile> open(UniqueFd file, const Format& format);

  /// Whether every page that holds one of these bytes is there. What the file says last is what counts: bits are set
  /// after the bytes were written (release), and read before the reader goes on (acquire).
  bool all_present(uint64_t offset, uint64_t end) const;

  uint64_t data_bytes() const { return data_bytes_; }
  /// Start of the page with this byte, and the end of it (of the file, for the last).
  uint64_t page_begin(uint64_t offset) const { return offset >> page_shift_ << page_shift_; }
  uint64_t page_end(uint64_t end) const;

 private:
  PresenceFile(UniqueFd file, const Format& format);

  UniqueFd file_;
  uint32_t header_bytes_;
  unsigned page_shift_;
  uint64_t data_bytes_;
};

}  // namespace hearth::holder
