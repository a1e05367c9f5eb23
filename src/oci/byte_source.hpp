// Bytes that arrive in order: blobs, decompressors, archive members. Sources wrap one another.
#pragma once

#include "base/digest.hpp"
#include "base/result.hpp"
#include "base/unique_fd.hpp"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace hearth::oci {

/// Blocking; used by one thread at a time.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  /// Up to `size` (> 0) bytes into `to`; 0 only at the end, and then always.
  virtual Result<size_t> read(char* to, size_t size) = 0;
  /// Passes over `size` bytes; says over how many, fewer only at the end. Sources that can do so do not read them.
  virtual Result<uint64_t> pass_over(uint64_t size);
};

/// Reads until `size` bytes are there or the source ends; says how many.
Result<size_t> read_fully(ByteSource& source, char* to, size_t size);
/// Reads to the end; exhausted beyond `limit_bytes`.
Result<std::string> read_to_end(ByteSource& source, uint64_t limit_bytes);

struct RegularFile {
  std::shared_ptr<const UniqueFd> fd;
  uint64_t size = 0;
};
/// Symlinks followed. invalid_argument for anything but a regular file.
Result<RegularFile> open_regular_file(const std::filesystem::path& path);

/// A range of an open file, read by position (the descriptor may be shared).
class FileSource final : public ByteSource {
 public:
  FileSource(std::shared_ptr<const UniqueFd> fd, uint64_t offset, uint64_t length, std::string name)
      : fd_(std::move(fd)), offset_(offset), left_(length), name_(std::move(name)) {}
  /// A regular file, symlinks followed.
  static Result<std::unique_ptr<FileSource>> open(const std::string& path);

  /// corrupt if the file ends before the range does.
  Result<size_t> read(char* to, size_t size) override;
  Result<uint64_t> pass_over(uint64_t size) override;

 private:
  std::shared_ptr<const UniqueFd> fd_;
  uint64_t offset_;
  uint64_t left_;
  std::string name_;  // for messages
};

class StringSource final : public ByteSource {
 public:
  explicit StringSource(std::string bytes) : bytes_(std::move(bytes)) {}
  Result<size_t> read(char* to, size_t size) override;

 private:
  std::string bytes_;
  size_t at_ = 0;
};

/// Passes bytes through and keeps their SHA-256 and number.
class HashingSource final : public ByteSource {
 public:
  explicit HashingSource(ByteSource& inner) : inner_(inner) {}
  Result<size_t> read(char* to, size_t size) override;
  uint64_t bytes() const { return bytes_; }
  /// From here on only the number is kept.
  void count_only() { hashes_ = false; }
  /// Of everything that was read so far; once.
  Digest finish() { return hasher_.finish(); }

 private:
  ByteSource& inner_;
  DigestHasher hasher_;
  bool hashes_ = true;
  uint64_t bytes_ = 0;
};

}  // namespace hearth::oci
