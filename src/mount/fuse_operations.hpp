// What the kernel may ask of a FUSE mount, as libfuse's table of functions. Everything but reads is answered from the
// layer's index at once; what would change something, the kernel refuses by itself (EROFS).
#pragma once

#include "mount/fuse_library.hpp"
#include "mount/fuse_session.hpp"

namespace hearth::mount {

struct FuseOperations {
  static const fuse_lowlevel_ops& table();

  static void init(void* session, fuse_conn_info* connection);
  static void lookup(fuse_req_t request, fuse_ino_t parent, const char* name);
  static void getattr(fuse_req_t request, fuse_ino_t ino, fuse_file_info* file);
  static void readlink(fuse_req_t request, fuse_ino_t ino);
  static void open(fuse_req_t request, fuse_ino_t ino, fuse_file_info* file);
  static void opendir(fuse_req_t request, fuse_ino_t ino, fuse_file_info* file);
  static void read(fuse_req_t request, fuse_ino_t ino, size_t size, off_t offset, fuse_file_info* file);
  static void lseek(fuse_req_t request, fuse_ino_t ino, off_t offset, int whence, fuse_file_info* file);
  static void readdir(fuse_req_t request, fuse_ino_t ino, size_t size, off_t offset, fuse_file_info* file);
  static void readdirplus(fuse_req_t request, fuse_ino_t ino, size_t size, off_t offset, fuse_file_info* file);
  static void statfs(fuse_req_t request, fuse_ino_t ino);
  static void getxattr(fuse_req_t request, fuse_ino_t ino, const char* name, size_t size);
  static void listxattr(fuse_req_t request, fuse_ino_t ino, size_t size);

 private:
  static FuseSession& session(fuse_req_t request);
  static const FuseTree& tree(fuse_req_t request);
};

}  // namespace hearth::mount
