#include "mount/present_map.hpp"

#include "base/file.hpp"
#include "base/little_endian.hpp"
#include "base/outside_time.hpp"
#include "base/random_id.hpp"
#include "mount/page_range.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

namespace hearth::mount {

namespace {

constexpr std::string_view kMagic = "HRTHPRES";
constexpr uint32_t kVersion = 1;
constexpr size_t kVersionAt = 8, kHeaderBytesAt = 12, kPageBytesAt = 16, kPlainSizeAt = 24, kPackAt = 32, kInodeAt = 64,
                 kBirthSecondsAt = 72, kBirthNanosecondsAt = 80, kEpochAt = 88, kChecksumAt = 128, kLastUsedAt = 160;
constexpr uint64_t kWordBits = 64;

std::string_view text_of(const Digest& digest) {
  return {reinterpret_cast<const char*>(digest.bytes().data()), Digest::kSize};
}

Digest load_digest(std::string_view bytes, size_t offset) {
  std::array<uint8_t, Digest::kSize> value{};
  std::memcpy(value.data(), bytes.data() + offset, value.size());
  return Digest(value);
}

Unexpected broken(std::string_view rule) {
  return fail(ErrorCode::corrupt, "presence file: " + std::string(rule));
}

uint64_t bitmap_words(uint64_t pages) {
  return (pages + kWordBits - 1) / kWordBits;
}

}  // namespace

uint64_t PresentHeader::pages() const {
  return plain_size / kPageBytes;
}

uint64_t PresentHeader::file_bytes() const {
  return kPresentHeaderBytes + 2 * bitmap_words(pages()) * sizeof(uint64_t);
}

std::string encode(const PresentHeader& header) {
  std::string bytes(kPresentHeaderBytes, '\0');
  bytes.replace(0, kMagic.size(), kMagic);
  store_le(&bytes[kVersionAt], kVersion);
  store_le(&bytes[kHeaderBytesAt], static_cast<uint32_t>(kPresentHeaderBytes));
  store_le(&bytes[kPageBytesAt], kPageBytes);
  store_le(&bytes[kPlainSizeAt], header.plain_size);
  bytes.replace(kPackAt, Digest::kSize, text_of(header.pack));
  store_le(&bytes[kInodeAt], header.data_inode);
  store_le(&bytes[kBirthSecondsAt], header.birth_seconds);
  store_le(&bytes[kBirthNanosecondsAt], header.birth_nanoseconds);
  bytes.replace(kEpochAt, Digest::kSize, text_of(header.epoch));
  bytes.replace(kChecksumAt, Digest::kSize, text_of(Digest::of(std::string_view(bytes).substr(0, kChecksumAt))));
  return bytes;
}

Result<PresentHeader> decode_present_header(std::string_view bytes) {
  if (bytes.size() < kPresentHeaderBytes) return broken("cut");
  if (!bytes.starts_with(kMagic)) return broken("wrong magic");
  if (load_le<uint32_t>(bytes, kVersionAt) != kVersion) return broken("unknown version");
  if (load_le<uint32_t>(bytes, kHeaderBytesAt) != kPresentHeaderBytes) return broken("wrong header size");
  if (load_le<uint32_t>(bytes, kPageBytesAt) != kPageBytes) return broken("unknown page size");
  if (load_digest(bytes, kChecksumAt) != Digest::of(bytes.substr(0, kChecksumAt))) return broken("wrong checksum");
  PresentHeader header{.pack = load_digest(bytes, kPackAt),
                       .plain_size = load_le<uint64_t>(bytes, kPlainSizeAt),
                       .epoch = load_digest(bytes, kEpochAt),
                       .data_inode = load_le<uint64_t>(bytes, kInodeAt),
                       .birth_seconds = load_le<int64_t>(bytes, kBirthSecondsAt),
                       .birth_nanoseconds = load_le<uint32_t>(bytes, kBirthNanosecondsAt)};
  if (header.plain_size % kPageBytes != 0 || header.plain_size > image::kPackPlainBytes) {
    return broken("impossible size of a plain space");
  }
  return header;
}

WallTime decode_last_used(std::string_view bytes) {
  return wall_at(seconds(load_le<int64_t>(bytes, kLastUsedAt)));
}

Result<PresentMap> PresentMap::create(const std::filesystem::path& path, const PresentHeader& header) {
  const std::filesystem::path draft = path.string() + ".tmp-" + random_id(8);
  auto made = [&]() -> Result<PresentMap> {
    TRY(auto fd, open_file(draft, O_RDWR | O_CREAT | O_EXCL, 0600));
    // Written out, not only made long: a store through the mapping could not report a full disk.
    TRY_VOID(write_all(fd.get(), encode(header) + std::string(header.file_bytes() - kPresentHeaderBytes, '\0'),
                       draft.string()));
    if (::rename(draft.c_str(), path.c_str()) != 0) return fail_errno("rename to " + path.string(), errno);
    return map(std::move(fd), header, path);
  }();
  if (!made) ::unlink(draft.c_str());
  return made;
}

Result<PresentMap> PresentMap::open(const std::filesystem::path& path) {
  TRY(auto fd, open_file(path, O_RDWR | O_NOFOLLOW));
  std::string bytes(kPresentHeaderBytes, '\0');
  const ssize_t got = ::pread(fd.get(), bytes.data(), bytes.size(), 0);
  if (got < 0) return fail_errno("read " + path.string(), errno);
  bytes.resize(static_cast<size_t>(got));
  TRY(const auto header, decode_present_header(bytes));
  struct stat info{};
  if (::fstat(fd.get(), &info) != 0) return fail_errno("look at " + path.string(), errno);
  if (static_cast<uint64_t>(info.st_size) != header.file_bytes()) return broken("wrong size");
  return map(std::move(fd), header, path);
}

Result<PresentMap> PresentMap::map(UniqueFd fd, const PresentHeader& header, const std::filesystem::path& path) {
  const size_t bytes = static_cast<size_t>(header.file_bytes());
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (memory == MAP_FAILED) return fail_errno("map " + path.string(), errno);
  // Kept in memory where that is allowed: a failing disk is then no signal to whoever looks at a bit, here or in the
  // holder.
  (void)::mlock(memory, bytes);
  return PresentMap(std::move(fd), header, {static_cast<std::byte*>(memory), bytes});
}

PresentMap::PresentMap(PresentMap&& other) noexcept
    : fd_(std::move(other.fd_)), header_(other.header_), memory_(std::exchange(other.memory_, {})) {}

PresentMap& PresentMap::operator=(PresentMap&& other) noexcept {
  if (this == &other) return *this;
  std::swap(fd_, other.fd_);
  std::swap(header_, other.header_);
  std::swap(memory_, other.memory_);
  return *this;
}

PresentMap::~PresentMap() {
  if (!memory_.empty()) ::munmap(memory_.data(), memory_.size());
}

uint64_t* PresentMap::words(Bits bits) const {
  auto* first = reinterpret_cast<uint64_t*>(memory_.data() + kPresentHeaderBytes);
  return bits == Bits::present ? first : first + bitmap_words(header_.pages());
}

/// visit(word, mask of the pages asked for); stops when that returns false.
template <class Visit>
void PresentMap::for_each_word(Bits bits, uint64_t first, uint64_t count, const Visit& visit) const {
  CHECK_PROMISE(first <= header_.pages() && count <= header_.pages() - first);
  uint64_t* const all_words = words(bits);
  while (count > 0) {
    const uint64_t shift = first % kWordBits;
    const uint64_t here = std::min(count, kWordBits - shift);
    const uint64_t mask = (here == kWordBits ? ~uint64_t{0} : (uint64_t{1} << here) - 1) << shift;
    if (!visit(std::atomic_ref<uint64_t>(all_words[first / kWordBits]), mask)) return;
    first += here;
    count -= here;
  }
}

bool PresentMap::all(Bits bits, uint64_t first, uint64_t count) const {
  bool result = true;
  for_each_word(bits, first, count, [&result](std::atomic_ref<uint64_t> word, uint64_t mask) {
    return result = (word.load(std::memory_order_acquire) & mask) == mask;
  });
  return result;
}

bool PresentMap::test(Bits bits, uint64_t page) const {
  return all(bits, page, 1);
}

uint64_t PresentMap::count(Bits bits, uint64_t first, uint64_t count) const {
  uint64_t total = 0;
  for_each_word(bits, first, count, [&total](std::atomic_ref<uint64_t> word, uint64_t mask) {
    total += static_cast<uint64_t>(std::popcount(word.load(std::memory_order_acquire) & mask));
    return true;
  });
  return total;
}

void PresentMap::set(Bits bits, uint64_t first, uint64_t count) {
  for_each_word(bits, first, count, [](std::atomic_ref<uint64_t> word, uint64_t mask) {
    word.fetch_or(mask, std::memory_order_release);
    return true;
  });
}

void PresentMap::clear(Bits bits, uint64_t first, uint64_t count) {
  for_each_word(bits, first, count, [](std::atomic_ref<uint64_t> word, uint64_t mask) {
    word.fetch_and(~mask, std::memory_order_acq_rel);
    return true;
  });
}

void PresentMap::take_as_candidates(const PresentMap& old) {
  CHECK_PROMISE(old.header_.plain_size == header_.plain_size);
  for (uint64_t i = 0; i < bitmap_words(header_.pages()); ++i) {
    words(Bits::candidates)[i] |= old.words(Bits::present)[i] | old.words(Bits::candidates)[i];
  }
  // Bits beyond the last page mean nothing; a file that was tampered with may have some.
  if (const uint64_t used = header_.pages() % kWordBits; used != 0) {
    words(Bits::candidates)[header_.pages() / kWordBits] &= (uint64_t{1} << used) - 1;
  }
}

void PresentMap::doubt_all() {
  for (uint64_t i = 0; i < bitmap_words(header_.pages()); ++i) {
    const uint64_t was = std::atomic_ref<uint64_t>(words(Bits::present)[i]).exchange(0, std::memory_order_acq_rel);
    std::atomic_ref<uint64_t>(words(Bits::candidates)[i]).fetch_or(was, std::memory_order_release);
  }
}

void PresentMap::set_last_used(WallTime at) {
  auto* value = reinterpret_cast<int64_t*>(memory_.data() + kLastUsedAt);
  std::atomic_ref<int64_t>(*value).store(std::chrono::duration_cast<seconds>(at.time_since_epoch()).count(),
                                         std::memory_order_relaxed);
}

WallTime PresentMap::last_used() const {
  auto* value = reinterpret_cast<int64_t*>(memory_.data() + kLastUsedAt);
  return wall_at(seconds(std::atomic_ref<int64_t>(*value).load(std::memory_order_relaxed)));
}

}  // namespace hearth::mount
