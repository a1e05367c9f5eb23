#include "mount/disk_io.hpp"

#include <unistd.h>

namespace hearth::mount {

ssize_t DiskIo::pread(int fd, char* to, size_t size, uint64_t offset) {
  return ::pread(fd, to, size, static_cast<off_t>(offset));
}

ssize_t DiskIo::pwrite(int fd, const char* from, size_t size, uint64_t offset) {
  return ::pwrite(fd, from, size, static_cast<off_t>(offset));
}

int DiskIo::fdatasync(int fd) {
  return ::fdatasync(fd);
}

DiskIo& DiskIo::real() {
  static DiskIo io;
  return io;
}

}  // namespace hearth::mount
