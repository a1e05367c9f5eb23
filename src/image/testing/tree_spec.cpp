#include "image/testing/tree_spec.hpp"

#include "base/file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace hearth::image::testing {

namespace {

constexpr uint64_t kMaxShownBytes = 64 * 1024 * 1024;

std::vector<oci::DataSegment> holes_between(const std::vector<oci::DataSegment>& data, uint64_t size) {
  std::vector<oci::DataSegment> holes;
  uint64_t end = 0;
  for (const auto& run : data) {
    if (run.offset > end) holes.push_back({end, run.offset - end});
    end = run.offset + run.length;
  }
  if (size > end) holes.push_back({end, size - end});
  return holes;
}

class LayerSpecReader {
 public:
  explicit LayerSpecReader(const LayerReader& layer) : layer_(layer), index_(layer.index()) {}

  Result<TreeSpec> run() {
    TRY_VOID(add("", index_.inode(0)));
    // Paths come in the order of the map, so the first name of an inode is the one others refer to.
    std::map<uint32_t, std::string> first;
    for (auto& [path, node] : tree_) node.same_as = first.try_emplace(numbers_[path], path).first->second;
    return std::move(tree_);
  }

 private:
  Result<> add(const std::string& path, const InodeView& inode) {
    NodeSpec node{.type = inode.type, .mode = inode.mode, .uid = inode.uid, .gid = inode.gid, .mtime = inode.mtime};
    node.target = inode.target;
    node.device = inode.device;
    node.opaque = inode.opaque;
    for (uint32_t i = 0; i < inode.xattr_count; ++i) {
      const XattrView xattr = index_.xattr(inode, i);
      node.xattrs.emplace(xattr.name, xattr.value);
    }
    if (inode.type == FileType::regular) TRY_VOID(add_content(inode, node));
    numbers_[path] = inode.number;
    tree_[path] = std::move(node);
    if (inode.type != FileType::directory) return {};
    for (uint32_t i = 0; i < inode.count; ++i) {
      const EntryView entry = index_.entry(inode, i);
      const std::string below = path.empty() ? std::string(entry.name) : path + "/" + std::string(entry.name);
      TRY_VOID(add(below, index_.inode(entry.inode)));
    }
    return {};
  }

  Result<> add_content(const InodeView& inode, NodeSpec& node) {
    std::vector<oci::DataSegment> data;
    std::string digests;
    for (uint32_t i = 0; i < inode.count; ++i) {
      const Extent extent = index_.extent(inode, i);
      data.push_back({extent.offset, extent.length});
      if (inode.size > kMaxShownBytes) {
        TRY(const std::string bytes, layer_.read_chunk(extent.chunk));
        digests += Digest::of(bytes).hex();
      }
    }
    node.holes = holes_between(data, inode.size);
    if (inode.size > kMaxShownBytes) {
      node.content = std::to_string(inode.size) + " bytes " + digests;
      return {};
    }
    TRY(node.content, layer_.read_file(inode, kMaxShownBytes));
    return {};
  }

  const LayerReader& layer_;
  const LayerIndex& index_;
  TreeSpec tree_;
  std::map<std::string, uint32_t> numbers_;
};

class DiskSpecReader {
 public:
  DiskSpecReader(std::filesystem::path root, Holes holes) : root_(std::move(root)), holes_(holes) {}

  Result<TreeSpec> run() {
    TRY_VOID(add(""));
    std::map<std::pair<dev_t, ino_t>, std::string> first;
    for (auto& [path, node] : tree_) node.same_as = first.try_emplace(identities_[path], path).first->second;
    return std::move(tree_);
  }

 private:
  Result<> add(const std::string& path) {
    const std::filesystem::path full = path.empty() ? root_ : root_ / path;
    struct stat info{};
    if (::lstat(full.c_str(), &info) != 0) return fail_errno("stat " + oci::printable(path), errno);
    NodeSpec node{.mode = static_cast<uint16_t>(info.st_mode & 07777), .uid = info.st_uid, .gid = info.st_gid};
    node.mtime = {info.st_mtim.tv_sec, static_cast<uint32_t>(info.st_mtim.tv_nsec)};
    TRY_VOID(add_xattrs(full, node));
    for (const auto type :
         {oci::FileType::regular, oci::FileType::directory, oci::FileType::symlink, oci::FileType::character_device,
          oci::FileType::block_device, oci::FileType::fifo, oci::FileType::socket}) {
      if (oci::type_bits(type) == (info.st_mode & S_IFMT)) node.type = type;
    }
    if (S_ISCHR(info.st_mode) || S_ISBLK(info.st_mode)) node.device = {major(info.st_rdev), minor(info.st_rdev)};
    if (S_ISLNK(info.st_mode)) node.target = std::filesystem::read_symlink(full).string();
    if (S_ISREG(info.st_mode)) TRY_VOID(add_content(full, static_cast<uint64_t>(info.st_size), node));
    identities_[path] = {info.st_dev, info.st_ino};
    tree_[path] = std::move(node);
    if (!S_ISDIR(info.st_mode)) return {};
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(full, error)) {
      const std::string name = entry.path().filename().string();
      TRY_VOID(add(path.empty() ? name : path + "/" + name));
    }
    if (error) return fail(ErrorCode::internal, error.message());
    return {};
  }

  static Result<> add_xattrs(const std::filesystem::path& full, NodeSpec& node) {
    std::string names(64 * 1024, '\0');
    const ssize_t listed = ::llistxattr(full.c_str(), names.data(), names.size());
    if (listed < 0) return {};
    for (size_t at = 0; at < static_cast<size_t>(listed);) {
      const std::string name = names.c_str() + at;
      at += name.size() + 1;
      std::string value(oci::kMaxXattrValueBytes, '\0');
      const ssize_t got = ::lgetxattr(full.c_str(), name.c_str(), value.data(), value.size());
      if (got < 0) return fail_errno("xattr " + name, errno);
      value.resize(static_cast<size_t>(got));
      node.xattrs[name] = value;
    }
    return {};
  }

  Result<> add_content(const std::filesystem::path& full, uint64_t size, NodeSpec& node) {
    TRY(const auto fd, open_file(full, O_RDONLY));
    std::vector<oci::DataSegment> data;
    for (off_t at = 0; static_cast<uint64_t>(at) < size;) {
      const off_t begin = ::lseek(fd.get(), at, SEEK_DATA);
      if (begin < 0) break;
      const off_t end = ::lseek(fd.get(), begin, SEEK_HOLE);
      if (end <= begin) break;
      data.push_back({static_cast<uint64_t>(begin), static_cast<uint64_t>(end - begin)});
      at = end;
    }
    if (holes_ == Holes::compare) node.holes = holes_between(data, size);
    if (size > kMaxShownBytes) {
      TRY(const std::string digests, digests_of(fd.get(), data));
      node.content = std::to_string(size) + " bytes " + digests;
      return {};
    }
    TRY(node.content, read_file(full, kMaxShownBytes));
    return {};
  }

  /// Of each chunk that a layer would cut the data into.
  static Result<std::string> digests_of(int fd, const std::vector<oci::DataSegment>& data) {
    std::string digests;
    std::string bytes;
    for (const auto& run : data) {
      for (uint64_t at = run.offset; at < run.offset + run.length; at += bytes.size()) {
        bytes.resize(std::min<uint64_t>(kChunkBytes - at % kChunkBytes, run.offset + run.length - at));
        if (::pread(fd, bytes.data(), bytes.size(), static_cast<off_t>(at)) != static_cast<ssize_t>(bytes.size()))
          return fail_errno("read a large file", errno);
        digests += Digest::of(bytes).hex();
      }
    }
    return digests;
  }

  std::filesystem::path root_;
  Holes holes_;
  TreeSpec tree_;
  std::map<std::string, std::pair<dev_t, ino_t>> identities_;
};

std::string describe(const NodeSpec& node) {
  std::string text = "type " + std::to_string(static_cast<int>(node.type)) + " mode ";
  for (int shift = 9; shift >= 0; shift -= 3) text += static_cast<char>('0' + ((node.mode >> shift) & 7));
  text += " " + std::to_string(node.uid) + ":" + std::to_string(node.gid) + " mtime " +
          std::to_string(node.mtime.seconds) + "." + std::to_string(node.mtime.nanoseconds) + " size " +
          std::to_string(node.content.size()) + " sha " + Digest::of(node.content).hex().substr(0, 8);
  if (!node.target.empty()) text += " -> " + oci::printable(node.target);
  if (node.device != oci::Device{}) {
    text += " dev " + std::to_string(node.device.major) + ":" + std::to_string(node.device.minor);
  }
  for (const auto& [name, value] : node.xattrs) text += " " + oci::printable(name) + "=" + oci::printable(value);
  for (const auto& hole : node.holes)
    text += " hole " + std::to_string(hole.offset) + "+" + std::to_string(hole.length);
  if (node.opaque) text += " opaque";
  return text + " same as '" + oci::printable(node.same_as) + "'";
}

}  // namespace

Result<TreeSpec> read_tree(const LayerReader& layer) {
  return LayerSpecReader(layer).run();
}

Result<TreeSpec> read_tree(const std::filesystem::path& directory, Holes holes) {
  return DiskSpecReader(directory, holes).run();
}

std::string difference(const TreeSpec& expected, const TreeSpec& actual) {
  std::string text;
  for (const auto& [path, node] : expected) {
    const auto found = actual.find(path);
    if (found == actual.end()) {
      text += "missing '" + oci::printable(path) + "': " + describe(node) + "\n";
    } else if (found->second != node) {
      text += "'" + oci::printable(path) + "'\n  expected " + describe(node) + "\n  actual   " +
              describe(found->second) + "\n";
    }
  }
  for (const auto& [path, node] : actual) {
    if (!expected.contains(path)) text += "unexpected '" + oci::printable(path) + "': " + describe(node) + "\n";
  }
  return text;
}

}  // namespace hearth::image::testing
