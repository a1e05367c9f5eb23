#include "record/journal.hpp"

#include "base/file.hpp"
#include "record/spool.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <atomic>
#include <cstring>
#include <utility>

namespace hearth::record {

// Read back only by a process on the same machine; a header of another layout is taken for none.
struct Journal::Header {
  uint64_t magic;
  // Bytes of content, published after they are copied; top bit: segment and offset are valid. One word, so that content
  // and mark go in one store: between two of them a kill would lose or double the content.
  std::atomic<uint64_t> state;
  uint64_t segment;
  uint64_t offset;
};

namespace {

constexpr uint64_t kMagic = 0x314c4e524a485448;  // "HTHJRNL1"
constexpr uint64_t kHeaderBytes = 64;
constexpr uint64_t kFlushing = uint64_t{1} << 63;

}  // namespace

Result<Journal> Journal::open(const std::filesystem::path& path, uint64_t capacity) {
  static_assert(sizeof(Header) <= kHeaderBytes);
  TRY(const UniqueFd fd, open_file(path, O_RDWR | O_CREAT, kSpoolFileMode));
  struct stat info{};
  if (::fstat(fd.get(), &info) != 0) return fail_errno("look at " + path.string(), errno);
  const auto existing = static_cast<uint64_t>(info.st_size);
  const uint64_t size = std::max(existing, kHeaderBytes + capacity);
  // All blocks now: a store into a hole of a full disk would kill the process.
  if (const int error = ::posix_fallocate(fd.get(), 0, static_cast<off_t>(size)); error != 0) {
    return fail_errno("make room for " + path.string(), error);
  }
  void* mapping = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd.get(), 0);
  if (mapping == MAP_FAILED) return fail_errno("map " + path.string(), errno);
  Journal journal(mapping, size - kHeaderBytes);
  Header* header = journal.header();
  if (header->magic != kMagic || journal.length() > journal.capacity_) {
    header->magic = kMagic;
    journal.clear();
  }
  return journal;
}

Journal::Journal(Journal&& other) noexcept
    : mapping_(std::exchange(other.mapping_, nullptr)), capacity_(other.capacity_) {}

Journal::~Journal() {
  if (mapping_ != nullptr) ::munmap(mapping_, kHeaderBytes + capacity_);
}

Journal::Header* Journal::header() const {
  return static_cast<Header*>(mapping_);
}
char* Journal::bytes() const {
  return static_cast<char*>(mapping_) + kHeaderBytes;
}

uint64_t Journal::length() const {
  return header()->state.load(std::memory_order_acquire) & ~kFlushing;
}

bool Journal::append(std::string_view text) {
  const uint64_t before = length();
  if (text.size() > capacity_ - before) return false;
  std::memcpy(bytes() + before, text.data(), text.size());
  header()->state.store(before + text.size(), std::memory_order_release);
  return true;
}

std::string_view Journal::content() const {
  return {bytes(), length()};
}

void Journal::begin_flush(FlushTarget target) {
  header()->segment = target.segment;
  header()->offset = target.offset;
  header()->state.store(length() | kFlushing, std::memory_order_release);
}

std::optional<FlushTarget> Journal::flush_target() const {
  if ((header()->state.load(std::memory_order_acquire) & kFlushing) == 0) return std::nullopt;
  return FlushTarget{header()->segment, header()->offset};
}

void Journal::clear() {
  header()->state.store(0, std::memory_order_release);
}

}  // namespace hearth::record
