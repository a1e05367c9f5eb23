// A file that is filled as it is read, as imagefs keeps them, in small: content computed, presence in a file beside it.
#pragma once

#include "base/fanotify.hpp"
#include "base/file.hpp"
#include "holder/client.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <string>

namespace hearth::holder {

inline constexpr uint64_t kPage = 4096;

/// What a read brought: bytes, or an errno.
struct ReadOutcome {
  std::string bytes;
  int error = 0;
};

inline ReadOutcome read_at(int fd, uint64_t offset, size_t length) {
  ReadOutcome outcome;
  outcome.bytes.resize(length);
  const ssize_t got = ::pread(fd, outcome.bytes.data(), length, static_cast<off_t>(offset));
  outcome.error = got < 0 ? errno : 0;
  outcome.bytes.resize(got < 0 ? 0 : static_cast<size_t>(got));
  return outcome;
}

class RelayedFile {
 public:
  static constexpr uint32_t kHeaderBytes = 4096;

  /// Sparse and empty. The descriptor for filling is opened here, before anybody marks the file.
  RelayedFile(const std::filesystem::path& path, uint64_t size, uint64_t token)
      : path_(path), token_(token), size_(size) {
    fill_ = open_file(path, O_RDWR | O_CREAT | O_EXCL, 0600).value();
    presence_ = open_file(path.string() + ".present", O_RDWR | O_CREAT | O_EXCL, 0600).value();
    const uint64_t bits = (size + kPage - 1) / kPage;
    map_bytes_ = kHeaderBytes + (bits + 7) / 8;
    EXPECT_EQ(::ftruncate(fill_.get(), static_cast<off_t>(size)), 0);
    EXPECT_EQ(::ftruncate(presence_.get(), static_cast<off_t>(map_bytes_)), 0);
    map_ = static_cast<unsigned char*>(
        ::mmap(nullptr, map_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, presence_.get(), 0));
  }
  ~RelayedFile() { ::munmap(map_, map_bytes_); }
  RelayedFile(const RelayedFile&) = delete;
  RelayedFile& operator=(const RelayedFile&) = delete;

  TrackedFile tracked() const {
    return {.name = "pack/" + path_.filename().string(),
            .token = token_,
            .data_fd = fill_.get(),
            .presence_fd = presence_.get(),
            .header_bytes = kHeaderBytes,
            .page_bytes = static_cast<uint32_t>(kPage)};
  }

  /// What the file holds once it is filled: no page like another, none of zeros.
  std::string content(uint64_t offset, uint64_t length) const {
    std::string bytes;
    for (uint64_t at = offset; at < std::min(offset + length, size_); ++at) {
      bytes.push_back(static_cast<char>(1 + (at / kPage * 31 + at % 251 + token_) % 255));
    }
    return bytes;
  }
  void write(int fd, uint64_t offset, uint64_t length) const {
    const std::string bytes = content(offset, length);
    EXPECT_EQ(::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset)), static_cast<ssize_t>(bytes.size()));
  }
  void set_present(uint64_t offset, uint64_t length) {
    for (uint64_t page = offset / kPage; page * kPage < offset + length; ++page) {
      std::atomic_ref byte(map_[kHeaderBytes + page / 8]);
      byte.fetch_or(static_cast<unsigned char>(1U << (page % 8)), std::memory_order_release);
    }
  }
  /// Bytes first, bits after.
  void fill(uint64_t offset, uint64_t length) {
    write(fill_.get(), offset, length);
    set_present(offset, length);
  }
  /// What imagefs does with an event.
  EventAnswer serve(const Event& event) {
    fill(event.offset, event.length);
    return {event.sequence, 0};
  }

  /// As others open it: after the mark, so that reads raise events.
  UniqueFd open() const { return open_file(path_, O_RDONLY).value(); }
  int fill_fd() const { return fill_.get(); }
  int presence_fd() const { return presence_.get(); }
  uint64_t size() const { return size_; }
  uint64_t token() const { return token_; }

 private:
  std::filesystem::path path_;
  uint64_t token_;
  uint64_t size_;
  UniqueFd fill_;
  UniqueFd presence_;
  unsigned char* map_ = nullptr;
  size_t map_bytes_ = 0;
};

}  // namespace hearth::holder
