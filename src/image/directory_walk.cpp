// build_layer_from_directory and build_layer_from_file: what lies on disk becomes a layer.
#include "base/file.hpp"
#include "base/little_endian.hpp"
#include "base/unique_fd.hpp"
#include "image/layer_builder.hpp"
#include "image/layer_writer.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <utility>

namespace hearth::image {

namespace {

constexpr std::string_view kOverlayXattrs = "trusted.overlay.";
constexpr std::string_view kCapability = "security.capability";
constexpr size_t kMaxXattrListBytes = 64 * 1024;

FileType type_of(const struct stat& info) {
  switch (info.st_mode & S_IFMT) {
    case S_IFDIR:
      return FileType::directory;
    case S_IFLNK:
      return FileType::symlink;
    case S_IFCHR:
      return FileType::character_device;
    case S_IFBLK:
      return FileType::block_device;
    case S_IFIFO:
      return FileType::fifo;
    case S_IFSOCK:
      return FileType::socket;
    default:
      return FileType::regular;
  }
}

/// Without following a symlink anywhere: the tree was written by code that is not trusted.
Result<UniqueFd> open_below(int root, const std::string& path, int flags) {
  struct open_how how{};
  how.flags = static_cast<uint64_t>(flags) | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  const long fd = ::syscall(SYS_openat2, root, path.empty() ? "." : path.c_str(), &how, sizeof how);
  if (fd < 0) return fail_errno("open " + oci::printable(path), errno);
  return UniqueFd(static_cast<int>(fd));
}

/// The runs of data of an open file; what lies between them are holes.
Result<std::vector<oci::DataSegment>> find_data(int fd, uint64_t size) {
  std::vector<oci::DataSegment> segments;
  off_t at = 0;
  while (static_cast<uint64_t>(at) < size) {
    const off_t begin = ::lseek(fd, at, SEEK_DATA);
    if (begin < 0 && errno == ENXIO) break;                          // a hole to the end
    if (begin < 0) return std::vector<oci::DataSegment>{{0, size}};  // a file system that knows no holes
    off_t end = ::lseek(fd, begin, SEEK_HOLE);
    if (end < 0) return fail_errno("look for holes", errno);
    end = std::min(end, static_cast<off_t>(size));
    if (begin < end) segments.push_back({static_cast<uint64_t>(begin), static_cast<uint64_t>(end - begin)});
    at = end;
    if (begin >= static_cast<off_t>(size)) break;
  }
  return segments;
}

class DirectoryWalk {
 public:
  DirectoryWalk(LayerWriter& writer, const WalkOptions& options, UniqueFd root)
      : writer_(writer), options_(options), root_(std::move(root)) {}

  Result<> run() {
    struct stat info{};
    if (::fstat(root_.get(), &info) != 0) return fail_errno("stat", errno);
    TRY(FileTree::Inode root, read_metadata("", "", root_.get(), info));
    FileTree::Inode& own = writer_.tree().inode(kRootInode);
    own.attributes = std::move(root.attributes);
    own.opaque = root.opaque;
    folders_.push_back({"", kRootInode});
    while (!folders_.empty()) {
      const auto [path, id] = std::move(folders_.back());
      folders_.pop_back();
      if (auto done = visit(path, id); !done) {
        return fail_with_context("read '" + oci::printable(path) + "' of the new layer", done.error());
      }
    }
    return {};
  }

 private:
  struct Folder {
    std::string path;
    InodeId id;
  };

  Result<> visit(const std::string& path, InodeId id) {
    TRY(const UniqueFd folder, open_below(root_.get(), path, O_RDONLY | O_DIRECTORY));
    TRY(const auto names, list(folder.get()));
    std::vector<Folder> below;
    for (const std::string& name : names) {
      const std::string full = path.empty() ? name : path + "/" + name;
      if (std::ranges::find(options_.exclude, full) != options_.exclude.end()) continue;
      TRY(const auto child, add(folder.get(), name, id));
      if (writer_.tree().inode(child).type == FileType::directory) below.push_back({full, child});
    }
    // Depth first in the order of names, so that a folder's content lies together in the packs.
    std::move(below.rbegin(), below.rend(), std::back_inserter(folders_));
    return {};
  }

  static Result<std::vector<std::string>> list(int folder) {
    const int copy = ::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (copy < 0) return fail_errno("open", errno);
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(copy), &::closedir);
    std::vector<std::string> names;
    for (;;) {
      errno = 0;
      const dirent* entry = ::readdir(stream.get());
      if (entry == nullptr && errno != 0) return fail_errno("list", errno);
      if (entry == nullptr) break;
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") names.emplace_back(name);
    }
    std::ranges::sort(names);
    return names;
  }

  Result<InodeId> add(int folder, const std::string& name, InodeId parent) {
    struct stat info{};
    if (::fstatat(folder, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0)
      return fail_errno(oci::printable(name), errno);
    const bool may_be_linked = !S_ISDIR(info.st_mode) && info.st_nlink > 1;
    const std::pair<dev_t, ino_t> identity{info.st_dev, info.st_ino};
    const bool whiteout = options_.marks == OverlayMarks::keep && S_ISCHR(info.st_mode) && info.st_rdev == 0;
    if (whiteout) {  // overlayfs links one inode many times; here each is its own
      const InodeId id = writer_.tree().add({.type = FileType::whiteout, .attributes = {.mode = 0}});
      writer_.tree().link(parent, name, id);
      return id;
    }
    if (may_be_linked) {
      if (const auto found = linked_.find(identity); found != linked_.end()) {
        writer_.tree().link(parent, name, found->second);
        return found->second;
      }
    }
    UniqueFd fd;
    if (S_ISREG(info.st_mode) || S_ISDIR(info.st_mode)) {
      TRY(fd, open_below(folder, name, S_ISDIR(info.st_mode) ? O_RDONLY | O_DIRECTORY : O_RDONLY));
      struct stat opened{};
      if (::fstat(fd.get(), &opened) != 0) return fail_errno(oci::printable(name), errno);
      if (opened.st_ino != info.st_ino || opened.st_dev != info.st_dev) {
        return fail(ErrorCode::corrupt, "'" + oci::printable(name) + "' changes while it is read");
      }
    }
    const std::string link_path = "/proc/self/fd/" + std::to_string(folder) + "/" + name;
    TRY(auto inode, read_metadata(link_path, name, fd.get(), info));
    std::optional<PycHead> head;
    if (inode.type == FileType::regular) {
      TRY(StoredContent content, read_content(fd.get(), inode.size));
      inode.extents = std::move(content.extents);
      if (is_pyc(name)) head = content.head;
    } else if (inode.type == FileType::symlink) {
      TRY(inode.target, read_target(folder, name));
    }
    const InodeId id = writer_.tree().add(std::move(inode));
    writer_.tree().link(parent, name, id);
    if (head) writer_.tree().set_pyc_head(id, *head);
    if (may_be_linked) linked_.emplace(identity, id);
    return id;
  }

  Result<FileTree::Inode> read_metadata(const std::string& path, std::string_view name, int fd,
                                        const struct stat& info) {
    FileTree::Inode inode;
    inode.type = type_of(info);
    inode.attributes.mode = static_cast<uint16_t>(inode.type == FileType::symlink ? 0777 : info.st_mode & 07777);
    TRY(inode.attributes.uid, shift_id(info.st_uid, name));
    TRY(inode.attributes.gid, shift_id(info.st_gid, name));
    inode.attributes.mtime = {info.st_mtim.tv_sec, static_cast<uint32_t>(info.st_mtim.tv_nsec)};
    if (inode.type == FileType::regular) inode.size = static_cast<uint64_t>(info.st_size);
    if (inode.type == FileType::character_device || inode.type == FileType::block_device) {
      inode.device = {major(info.st_rdev), minor(info.st_rdev)};
    }
    TRY_VOID(read_xattrs(path, fd, inode));
    return inode;
  }

  Result<uint32_t> shift_id(uint32_t id, std::string_view name) const {
    if (id < options_.id_base || id - options_.id_base >= options_.id_count) {
      return fail(ErrorCode::invalid_argument, "'" + oci::printable(name) + "' belongs to id " + std::to_string(id) +
                                                   ", which is outside the range of the build");
    }
    return id - options_.id_base;
  }

  Result<> read_xattrs(const std::string& path, int fd, FileTree::Inode& inode) const {
    std::string names(kMaxXattrListBytes, '\0');
    const ssize_t listed =
        fd >= 0 ? ::flistxattr(fd, names.data(), names.size()) : ::llistxattr(path.c_str(), names.data(), names.size());
    if (listed < 0 && (errno == EOPNOTSUPP || errno == ENOENT))
      return {};  // ENOENT: sockets behind /proc on some kernels
    if (listed < 0) return fail_errno("list xattrs", errno);
    names.resize(static_cast<size_t>(listed));
    for (size_t at = 0; at < names.size();) {
      const std::string name = names.c_str() + at;
      at += name.size() + 1;
      std::string value(oci::kMaxXattrValueBytes, '\0');
      const ssize_t got = fd >= 0 ? ::fgetxattr(fd, name.c_str(), value.data(), value.size())
                                  : ::lgetxattr(path.c_str(), name.c_str(), value.data(), value.size());
      if (got < 0) return fail_errno("read xattr " + name, errno);
      value.resize(static_cast<size_t>(got));
      TRY_VOID(take_xattr(name, std::move(value), inode));
    }
    std::ranges::sort(inode.attributes.xattrs);
    return {};
  }

  Result<> take_xattr(const std::string& name, std::string value, FileTree::Inode& inode) const {
    if (name == "security.selinux") return {};  // the building host's label
    if (name.starts_with(kOverlayXattrs)) {
      if (options_.marks == OverlayMarks::ordinary) return {};
      const std::string_view mark = std::string_view(name).substr(kOverlayXattrs.size());
      if (mark == "redirect" || mark == "metacopy") {
        return fail(ErrorCode::invalid_argument, "the overlay was written with " + std::string(mark) +
                                                     " on; mount it with redirect_dir=off,metacopy=off");
      }
      if (mark == "opaque" && value == "y" && inode.type == FileType::directory) inode.opaque = true;
      return {};
    }
    if (name == kCapability) value = capability_without_root_id(std::move(value));
    inode.attributes.xattrs.push_back({name, std::move(value)});
    return {};
  }

  /// Set inside a user namespace, a file capability carries the host id of that namespace's root (revision 3). Ids in a
  /// layer are those of the image, where root is 0: that is revision 2.
  std::string capability_without_root_id(std::string value) const {
    constexpr size_t kRevision3Bytes = 24;
    constexpr uint32_t kRevisionMask = 0xFF00'0000;
    if (options_.id_base == 0 || value.size() != kRevision3Bytes) return value;
    const auto magic = load_le<uint32_t>(value, 0);
    if ((magic & kRevisionMask) != 0x0300'0000 || load_le<uint32_t>(value, 20) != options_.id_base) return value;
    store_le(value.data(), (magic & ~kRevisionMask) | 0x0200'0000);
    value.resize(20);
    return value;
  }

  static Result<std::string> read_target(int folder, const std::string& name) {
    std::string target(oci::kMaxPathBytes + 1, '\0');
    const ssize_t got = ::readlinkat(folder, name.c_str(), target.data(), target.size());
    if (got < 0) return fail_errno("read symlink " + oci::printable(name), errno);
    target.resize(static_cast<size_t>(got));
    return target;
  }

  Result<StoredContent> read_content(int fd, uint64_t size) {
    TRY(const auto segments, find_data(fd, size));
    return writer_.store_content(segments, size, [fd](uint64_t offset, char* to, size_t wanted) -> Result<size_t> {
      for (;;) {
        const ssize_t got = ::pread(fd, to, wanted, static_cast<off_t>(offset));
        if (got >= 0) return static_cast<size_t>(got);
        if (errno != EINTR) return fail_errno("read", errno);
      }
    });
  }

  LayerWriter& writer_;
  const WalkOptions& options_;
  UniqueFd root_;
  std::vector<Folder> folders_;                        // to be visited, last first
  std::map<std::pair<dev_t, ino_t>, InodeId> linked_;  // files with several names
};

}  // namespace

Result<LayerSummary> build_layer_from_directory(const std::shared_ptr<blob::ObjectStore>& store,
                                                const StoreScope& scope, const std::filesystem::path& directory,
                                                const WalkOptions& walk, const BuildOptions& options) {
  TRY(auto root, open_file(directory, O_RDONLY | O_DIRECTORY));
  LayerWriter writer(store, scope, options);
  TRY_VOID(DirectoryWalk(writer, walk, std::move(root)).run());
  return writer.finish();
}

Result<LayerSummary> build_layer_from_file(const std::shared_ptr<blob::ObjectStore>& store, const StoreScope& scope,
                                           const std::filesystem::path& file, std::string_view path_in_layer,
                                           const BuildOptions& options) {
  TRY(const auto fd, open_file(file, O_RDONLY | O_NONBLOCK));
  struct stat info{};
  if (::fstat(fd.get(), &info) != 0) return fail_errno("stat " + file.string(), errno);
  if (!S_ISREG(info.st_mode)) return fail(ErrorCode::invalid_argument, file.string() + " is no regular file");
  LayerWriter writer(store, scope, options);
  FileTree::Inode inode{.size = static_cast<uint64_t>(info.st_size)};
  inode.attributes.mode = (info.st_mode & 0111) != 0 ? 0755 : 0644;
  inode.attributes.mtime = {info.st_mtim.tv_sec, static_cast<uint32_t>(info.st_mtim.tv_nsec)};
  TRY(const auto segments, find_data(fd.get(), inode.size));
  TRY(StoredContent content,
      writer.store_content(segments, inode.size, [&fd](uint64_t offset, char* to, size_t wanted) -> Result<size_t> {
        const ssize_t got = ::pread(fd.get(), to, wanted, static_cast<off_t>(offset));
        if (got < 0) return fail_errno("read", errno);
        return static_cast<size_t>(got);
      }));
  inode.extents = std::move(content.extents);
  InodeId folder = kRootInode;
  std::string_view left = path_in_layer;
  for (;;) {
    const size_t slash = std::min(left.find('/'), left.size());
    const std::string_view name = left.substr(0, slash);
    if (name.empty() || name == "." || name == ".." || name.size() > oci::kMaxNameBytes || name.contains('\0')) {
      return fail(ErrorCode::invalid_argument,
                  "'" + oci::printable(path_in_layer) + "' is no path below the layer's root");
    }
    if (slash == left.size()) {
      writer.tree().link(folder, name, writer.tree().add(std::move(inode)));
      break;
    }
    const InodeId id = writer.tree().add({.type = FileType::directory});
    writer.tree().link(folder, name, id);
    folder = id;
    left.remove_prefix(slash + 1);
  }
  return writer.finish();
}

}  // namespace hearth::image
