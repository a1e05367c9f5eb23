// Which pages of a pack's data file hold verified bytes: a bitmap in a file of its own, mapped by imagefs, and
// read-only by the holder. The bytes are docs/formats/node-cache.md.
#pragma once

#include "base/clock.hpp"
#include "base/digest.hpp"
#include "base/result.hpp"
#include "base/unique_fd.hpp"

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace hearth::mount {

inline constexpr size_t kPresentHeaderBytes = 4096;

/// What a bitmap speaks of. One that speaks of another file, or of an earlier epoch, proves nothing.
struct PresentHeader {
  Digest pack;
  uint64_t plain_size = 0;  // bytes: a multiple of the page size
  Digest epoch;             // SHA-256 of its name: what was verified in another one has to be verified again
  uint64_t data_inode = 0;
  int64_t birth_seconds = 0;  // of the data file
  uint32_t birth_nanoseconds = 0;

  uint64_t pages() const;
  /// Size of the whole file: header, and two bitmaps of 64-bit words.
  uint64_t file_bytes() const;
  bool operator==(const PresentHeader&) const = default;
};

/// The first bytes of the file, kPresentHeaderBytes of them.
std::string encode(const PresentHeader& header);
/// corrupt with the rule that is broken. Takes hostile bytes (fuzz/present_header_fuzz.cpp).
Result<PresentHeader> decode_present_header(std::string_view bytes);

/// When the pack was last in use, from the same bytes, unchecked.
WallTime decode_last_used(std::string_view bytes);

/// A file of this format, mapped shared: a bit that was set survives kill -9 of whoever set it. Reading and changing
/// bits is atomic by words of 64; a bit is set with release order, so who sees it set sees the bytes written before.
/// Any number of threads.
///
/// Two bitmaps: *present* pages were verified in this epoch; *candidates* were present in an earlier one and are on
/// disk as far as we know. No page is both.
class PresentMap {
 public:
  enum class Bits { present, candidates };

  /// Makes the file, all of it allocated, in place of one that may be there (whoever has that mapped keeps the old
  /// one).
  static Result<PresentMap> create(const std::filesystem::path& path, const PresentHeader& header);
  /// not_found, or corrupt when header or size are wrong.
  static Result<PresentMap> open(const std::filesystem::path& path);

  PresentMap(PresentMap&&) noexcept;
  PresentMap& operator=(PresentMap&&) noexcept;
  PresentMap(const PresentMap&) = delete;
  PresentMap& operator=(const PresentMap&) = delete;
  ~PresentMap();

  const PresentHeader& header() const { return header_; }
  int fd() const { return fd_.get(); }

  /// Pages first … first + count - 1 must exist in all of these.
  bool all(Bits bits, uint64_t first, uint64_t count) const;
  bool test(Bits bits, uint64_t page) const;
  uint64_t count(Bits bits, uint64_t first, uint64_t count) const;
  void set(Bits bits, uint64_t first, uint64_t count);
  void clear(Bits bits, uint64_t first, uint64_t count);
  /// Both bitmaps of another map of equally many pages become candidates of this one. Before anybody else has this map.
  void take_as_candidates(const PresentMap& old);

  /// What is present becomes a candidate.
  void doubt_all();

  void set_last_used(WallTime at);
  WallTime last_used() const;

 private:
  PresentMap(UniqueFd fd, PresentHeader header, std::span<std::byte> memory)
      : fd_(std::move(fd)), header_(header), memory_(memory) {}
  static Result<PresentMap> map(UniqueFd fd, const PresentHeader& header, const std::filesystem::path& path);
  uint64_t* words(Bits bits) const;
  template <class Visit>
  void for_each_word(Bits bits, uint64_t first, uint64_t count, const Visit& visit) const;

  UniqueFd fd_;
  PresentHeader header_;
  std::span<std::byte> memory_;  // mapped
};

}  // namespace hearth::mount
