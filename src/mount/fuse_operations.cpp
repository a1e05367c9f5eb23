#include "mount/fuse_operations.hpp"

#include "mount/fuse_mount.hpp"
#include "mount/fuse_read.hpp"
#include "oci/file_metadata.hpp"

#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

namespace hearth::mount {

namespace {

using image::FileType;
using image::InodeView;

/// A layer never changes: a year is for good.
constexpr double kForeverSeconds = 365.0 * 24 * 3600;
/// Requests of read-ahead under way at once; beyond the second the kernel holds back.
constexpr unsigned kBackgroundMax = 64;
constexpr unsigned kCongestion = 48;
constexpr size_t kNameBytesMax = 255;
constexpr off_t kDots = 2;  // entries "." and ".." come before all others

fuse_entry_param entry_of(const FuseTree& tree, const InodeView& inode) {
  fuse_entry_param entry{};
  entry.attr = tree.status(inode);
  entry.ino = entry.attr.st_ino;
  entry.attr_timeout = kForeverSeconds;
  entry.entry_timeout = kForeverSeconds;
  return entry;
}

/// Entry `at` of a directory, the dots first; nullopt behind the last.
struct Listed {
  std::string name;
  InodeView inode;
};
std::optional<Listed> listed(const FuseTree& tree, const InodeView& directory, off_t at) {
  if (at == 0) return Listed{".", directory};
  if (at == 1) return Listed{"..", tree.parent(directory)};
  if (at - kDots >= static_cast<off_t>(directory.count)) return std::nullopt;
  const auto entry = tree.index().entry(directory, static_cast<uint32_t>(at - kDots));
  return Listed{std::string(entry.name), tree.index().inode(entry.inode)};
}

/// As many entries as fit; `add` puts one at a place that has room for so many bytes, and says how many it takes.
template <class Add>
void list(fuse_req_t request, const FuseTree& tree, fuse_ino_t ino, off_t offset, size_t size, const Add& add) {
  const auto directory = tree.inode(ino);
  if (!directory || directory->type != FileType::directory) {
    fuse_reply_err(request, ENOTDIR);
    return;
  }
  std::string buffer(std::min<size_t>(size, kFuseRequestBytes), '\0');
  size_t used = 0;
  for (off_t at = std::max<off_t>(offset, 0);; ++at) {
    const auto next = listed(tree, *directory, at);
    if (!next) break;
    const size_t taken = add(buffer.data() + used, buffer.size() - used, *next, at + 1);
    if (taken > buffer.size() - used) break;
    used += taken;
  }
  fuse_reply_buf(request, buffer.data(), used);
}

/// The answer to getxattr and listxattr: the size alone when nothing more is wanted.
void reply_value(fuse_req_t request, const std::string& value, size_t size) {
  if (size == 0) {
    fuse_reply_xattr(request, value.size());
  } else if (size < value.size()) {
    fuse_reply_err(request, ERANGE);
  } else {
    fuse_reply_buf(request, value.data(), value.size());
  }
}

}  // namespace

FuseSession& FuseOperations::session(fuse_req_t request) {
  return *static_cast<FuseSession*>(fuse_req_userdata(request));
}

const FuseTree& FuseOperations::tree(fuse_req_t request) {
  return session(request).tree_;
}

const fuse_lowlevel_ops& FuseOperations::table() {
  static const fuse_lowlevel_ops kOperations = [] {
    fuse_lowlevel_ops table{};
    table.init = init;
    table.lookup = lookup;
    table.getattr = getattr;
    table.readlink = readlink;
    table.open = open;
    table.opendir = opendir;
    table.read = read;
    table.lseek = lseek;
    table.readdir = readdir;
    table.readdirplus = readdirplus;
    table.statfs = statfs;
    table.getxattr = getxattr;
    table.listxattr = listxattr;
    return table;
  }();
  return kOperations;
}

void FuseOperations::init(void* session, fuse_conn_info* connection) {
  auto& self = *static_cast<FuseSession*>(session);
  const auto want = [connection](unsigned capability) { connection->want |= connection->capable & capability; };
  want(FUSE_CAP_ASYNC_READ | FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_PARALLEL_DIROPS);
  want(FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_EXPLICIT_INVAL_DATA | FUSE_CAP_SPLICE_WRITE);
  connection->want &= ~static_cast<unsigned>(FUSE_CAP_AUTO_INVAL_DATA);
  self.opens_are_needless_ = (connection->capable & FUSE_CAP_NO_OPEN_SUPPORT) != 0;
  self.opendirs_are_needless_ = (connection->capable & FUSE_CAP_NO_OPENDIR_SUPPORT) != 0;
  // With it the kernel asks for the ACL of every inode it looks at.
  if (self.tree_.has_acls()) want(FUSE_CAP_POSIX_ACL);
  connection->max_write = std::min(connection->max_write, kFuseRequestBytes);  // libfuse makes max_pages of it
  connection->max_read = kFuseRequestBytes;
  connection->max_readahead = std::min(connection->max_readahead, kFuseRequestBytes);
  connection->max_background = kBackgroundMax;
  connection->congestion_threshold = kCongestion;
}

void FuseOperations::lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  const FuseTree& layer = tree(request);
  const auto directory = layer.inode(parent);
  if (!directory || directory->type != FileType::directory) {
    fuse_reply_err(request, ENOTDIR);
    return;
  }
  if (std::strlen(name) > kNameBytesMax) {  // the kernel asks for up to 1,024
    fuse_reply_err(request, ENAMETOOLONG);
    return;
  }
  const auto found = layer.index().find(*directory, name);
  fuse_entry_param entry{};
  entry.entry_timeout = kForeverSeconds;  // that there is no such name is remembered, too
  if (found) entry = entry_of(layer, layer.index().inode(found->inode));
  fuse_reply_entry(request, &entry);
}

void FuseOperations::getattr(fuse_req_t request, fuse_ino_t ino, fuse_file_info* /*file*/) {
  const auto inode = tree(request).inode(ino);
  if (!inode) {
    fuse_reply_err(request, ENOENT);
    return;
  }
  const struct stat status = tree(request).status(*inode);
  fuse_reply_attr(request, &status, kForeverSeconds);
}

void FuseOperations::readlink(fuse_req_t request, fuse_ino_t ino) {
  const auto inode = tree(request).inode(ino);
  if (!inode || inode->type != FileType::symlink) {
    fuse_reply_err(request, EINVAL);
    return;
  }
  fuse_reply_readlink(request, std::string(inode->target).c_str());
}

/// Where the kernel can do without, it never asks again, and keeps what it has of files and directories.
void FuseOperations::open(fuse_req_t request, fuse_ino_t /*ino*/, fuse_file_info* file) {
  if (session(request).opens_are_needless_) {
    fuse_reply_err(request, ENOSYS);
    return;
  }
  file->keep_cache = 1;
  fuse_reply_open(request, file);
}

void FuseOperations::opendir(fuse_req_t request, fuse_ino_t /*ino*/, fuse_file_info* file) {
  if (session(request).opendirs_are_needless_) {
    fuse_reply_err(request, ENOSYS);
    return;
  }
  file->keep_cache = 1;
  file->cache_readdir = 1;
  fuse_reply_open(request, file);
}

void FuseOperations::read(fuse_req_t request, fuse_ino_t ino, size_t size, off_t offset, fuse_file_info* /*file*/) {
  const auto inode = tree(request).inode(ino);
  if (!inode || inode->type != FileType::regular || offset < 0) {
    fuse_reply_err(request, EINVAL);
    return;
  }
  auto pieces = tree(request).pieces(*inode, static_cast<uint64_t>(offset), std::min<size_t>(size, kFuseRequestBytes));
  std::make_shared<FuseRead>(session(request).shared_from_this(), request, std::move(pieces))->begin();
}

void FuseOperations::lseek(fuse_req_t request, fuse_ino_t ino, off_t offset, int whence, fuse_file_info* /*file*/) {
  const auto inode = tree(request).inode(ino);
  if (!inode || inode->type != FileType::regular || (whence != SEEK_DATA && whence != SEEK_HOLE)) {
    fuse_reply_err(request, EINVAL);
    return;
  }
  const auto from = static_cast<uint64_t>(offset);
  const bool inside = offset >= 0 && from < inode->size;
  std::optional<uint64_t> found;
  if (inside)
    found = whence == SEEK_DATA ? tree(request).data_from(*inode, from) : tree(request).hole_from(*inode, from);
  if (!found) {
    fuse_reply_err(request, ENXIO);
    return;
  }
  fuse_reply_lseek(request, static_cast<off_t>(*found));
}

void FuseOperations::readdir(fuse_req_t request, fuse_ino_t ino, size_t size, off_t offset, fuse_file_info* /*file*/) {
  list(request, tree(request), ino, offset, size, [request](char* to, size_t room, const Listed& entry, off_t next) {
    struct stat status{};  // of which the inode's number and type are told
    status.st_ino = uint64_t{entry.inode.number} + 1;
    status.st_mode = oci::type_bits(entry.inode.type);
    return fuse_add_direntry(request, to, room, entry.name.c_str(), &status, next);
  });
}

void FuseOperations::readdirplus(fuse_req_t request, fuse_ino_t ino, size_t size, off_t offset,
                                 fuse_file_info* /*file*/) {
  const FuseTree& layer = tree(request);
  list(request, layer, ino, offset, size, [request, &layer](char* to, size_t room, const Listed& entry, off_t next) {
    const auto parameters = entry_of(layer, entry.inode);
    return fuse_add_direntry_plus(request, to, room, entry.name.c_str(), &parameters, next);
  });
}

void FuseOperations::statfs(fuse_req_t request, fuse_ino_t /*ino*/) {
  const image::LayerIndex& index = tree(request).index();
  struct statvfs status{};
  status.f_bsize = image::kPageBytes;
  status.f_frsize = image::kPageBytes;
  status.f_blocks = image::round_up_to_page(index.content_bytes()) / image::kPageBytes;
  status.f_files = index.inode_count();
  status.f_namemax = kNameBytesMax;
  fuse_reply_statfs(request, &status);
}

void FuseOperations::getxattr(fuse_req_t request, fuse_ino_t ino, const char* name, size_t size) {
  const FuseTree& layer = tree(request);
  if (!layer.has_xattrs()) {
    fuse_reply_err(request, ENOSYS);  // the kernel never asks again: each exec asks for security.capability
    return;
  }
  const auto inode = layer.inode(ino);
  const auto value = inode ? layer.xattr(*inode, name) : std::nullopt;
  if (!value) {
    fuse_reply_err(request, ENODATA);
    return;
  }
  reply_value(request, *value, size);
}

void FuseOperations::listxattr(fuse_req_t request, fuse_ino_t ino, size_t size) {
  const auto inode = tree(request).inode(ino);
  const auto trusted = fuse_req_ctx(request)->uid == 0 ? FuseTree::Trusted::shown : FuseTree::Trusted::hidden;
  reply_value(request, inode ? tree(request).xattr_names(*inode, trusted) : "", size);
}

}  // namespace hearth::mount
