// A buffer that survives the death of its process: a preallocated file mapped into memory, so that a record is safe
// from kill -9 as soon as it is copied in, without a system call. Private.
#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>

namespace hearth::record {

/// Where the content is being written to: on recovery whatever lies there from `offset` on is cut off and written
/// again, so that nothing is lost and nothing doubled.
struct FlushTarget {
  uint64_t segment = 0;
  uint64_t offset = 0;
};

/// Not thread-safe. Moves, but its mapping stays.
class Journal {
 public:
  /// Opens or creates; keeps what an earlier process left. exhausted when the disk has no room for it.
  static Result<Journal> open(const std::filesystem::path& path, uint64_t capacity);
  Journal(Journal&& other) noexcept;
  Journal& operator=(Journal&&) = delete;
  ~Journal();

  /// False when there is no room for all of it. Not between begin_flush and clear.
  bool append(std::string_view bytes);
  std::string_view content() const;
  bool empty() const { return content().empty(); }

  void begin_flush(FlushTarget target);
  std::optional<FlushTarget> flush_target() const;
  /// After all of the content is in the segment (or elsewhere).
  void clear();

 private:
  struct Header;
  Journal(void* mapping, uint64_t capacity) : mapping_(mapping), capacity_(capacity) {}
  Header* header() const;
  char* bytes() const;
  uint64_t length() const;

  void* mapping_;
  uint64_t capacity_;
};

}  // namespace hearth::record
