// The system calls that the node's cache makes on data files, as an object, so that tests can stand for a failing disk.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

namespace hearth::mount {

/// Like the system calls of these names: -1 with errno set when they fail. Thread-safe.
class DiskIo {
 public:
  virtual ~DiskIo() = default;
  virtual ssize_t pread(int fd, char* to, size_t size, uint64_t offset);
  virtual ssize_t pwrite(int fd, const char* from, size_t size, uint64_t offset);
  virtual int fdatasync(int fd);

  /// The real one.
  static DiskIo& real();
};

}  // namespace hearth::mount
