#include "oci/byte_source.hpp"

#include "base/file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace hearth::oci {

Result<uint64_t> ByteSource::pass_over(uint64_t size) {
  std::array<char, 64 * 1024> scratch{};
  uint64_t done = 0;
  while (done < size) {
    TRY(const size_t got, read(scratch.data(), static_cast<size_t>(std::min<uint64_t>(size - done, scratch.size()))));
    if (got == 0) break;
    done += got;
  }
  return done;
}

Result<size_t> read_fully(ByteSource& source, char* to, size_t size) {
  size_t have = 0;
  while (have < size) {
    TRY(const size_t got, source.read(to + have, size - have));
    if (got == 0) break;
    have += got;
  }
  return have;
}

Result<std::string> read_to_end(ByteSource& source, uint64_t limit_bytes) {
  std::string bytes;
  char buffer[64 * 1024];
  for (;;) {
    TRY(const size_t got, source.read(buffer, sizeof buffer));
    if (got == 0) return bytes;
    if (bytes.size() + got > limit_bytes) {
      return fail(ErrorCode::exhausted, "larger than the limit of " + std::to_string(limit_bytes) + " bytes");
    }
    bytes.append(buffer, got);
  }
}

Result<RegularFile> open_regular_file(const std::filesystem::path& path) {
  TRY(auto fd, open_file(path, O_RDONLY | O_NONBLOCK));  // not waiting for the writer of a FIFO
  struct stat info{};
  if (::fstat(fd.get(), &info) != 0) return fail_errno("stat " + path.string(), errno);
  if (!S_ISREG(info.st_mode)) return fail(ErrorCode::invalid_argument, path.string() + " is no regular file");
  return RegularFile{std::make_shared<const UniqueFd>(std::move(fd)), static_cast<uint64_t>(info.st_size)};
}

Result<std::unique_ptr<FileSource>> FileSource::open(const std::string& path) {
  TRY(RegularFile file, open_regular_file(path));
  return std::make_unique<FileSource>(std::move(file.fd), 0, file.size, path);
}

Result<size_t> FileSource::read(char* to, size_t size) {
  const size_t wanted = static_cast<size_t>(std::min<uint64_t>(size, left_));
  if (wanted == 0) return size_t{0};
  for (;;) {
    const ssize_t got = ::pread(fd_->get(), to, wanted, static_cast<off_t>(offset_));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno("read " + name_, errno);
    if (got == 0) return fail(ErrorCode::corrupt, name_ + " became shorter while it was read");
    offset_ += static_cast<uint64_t>(got);
    left_ -= static_cast<uint64_t>(got);
    return static_cast<size_t>(got);
  }
}

Result<uint64_t> FileSource::pass_over(uint64_t size) {
  const uint64_t passed = std::min(size, left_);
  offset_ += passed;
  left_ -= passed;
  return passed;
}

Result<size_t> StringSource::read(char* to, size_t size) {
  const size_t count = std::min(size, bytes_.size() - at_);
  std::memcpy(to, bytes_.data() + at_, count);
  at_ += count;
  return count;
}

Result<size_t> HashingSource::read(char* to, size_t size) {
  TRY(const size_t got, inner_.read(to, size));
  if (hashes_) hasher_.update(std::string_view(to, got));
  bytes_ += got;
  return got;
}

}  // namespace hearth::oci
