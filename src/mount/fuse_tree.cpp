#include "mount/fuse_tree.hpp"

#include "oci/file_metadata.hpp"

#include <sys/sysmacros.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace hearth::mount {

namespace {

using image::FileType;
using image::InodeView;

constexpr std::string_view kOpaque = "trusted.overlay.opaque";
constexpr std::string_view kTrustedPrefix = "trusted.";
constexpr std::string_view kAclPrefix = "system.posix_acl_";
constexpr std::string_view kCapability = "security.capability";
constexpr blksize_t kStatusBlockBytes = 512;  // of st_blocks

// linux/posix_acl_xattr.h: a version, then entries; those of named users and groups hold an id.
constexpr size_t kAclHeaderBytes = 4;
constexpr size_t kAclEntryBytes = 8;
constexpr size_t kAclIdOffset = 4;
constexpr uint16_t kAclUser = 0x02;
constexpr uint16_t kAclGroup = 0x08;
// linux/capability.h: revision 3 ends with the id of the user namespace's root.
constexpr size_t kCapabilityV3Bytes = 24;
constexpr size_t kCapabilityRootOffset = 20;

template <class T>
T load(const std::string& bytes, size_t at) {
  T value{};
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

}  // namespace

FuseTree::FuseTree(std::shared_ptr<const CachedLayer> layer, uint32_t id_base)
    : layer_(std::move(layer)), id_base_(id_base) {
  for (uint32_t number = 0; number < index().inode_count(); ++number) {
    const InodeView inode = index().inode(number);
    has_xattrs_ = has_xattrs_ || inode.opaque || inode.xattr_count > 0;
    for (uint32_t i = 0; i < inode.xattr_count && !has_acls_; ++i) {
      has_acls_ = index().xattr(inode, i).name.starts_with(kAclPrefix);
    }
  }
}

std::optional<InodeView> FuseTree::inode(uint64_t ino) const {
  if (ino == 0 || ino > index().inode_count()) return std::nullopt;
  return index().inode(static_cast<uint32_t>(ino - 1));
}

uint32_t FuseTree::shown_id(uint32_t id) const {
  if (id_base_ == 0) return id;
  return id < kShiftedIds ? id_base_ + id : kOverflowId;
}

struct stat FuseTree::status(const InodeView& inode) const {
  struct stat status{};
  const bool device = inode.type == FileType::character_device || inode.type == FileType::block_device;
  status.st_ino = uint64_t{inode.number} + 1;
  status.st_mode = oci::type_bits(inode.type) | inode.mode;
  status.st_nlink = inode.links;
  status.st_uid = shown_id(inode.uid);
  status.st_gid = shown_id(inode.gid);
  status.st_rdev = device ? makedev(inode.device.major, inode.device.minor) : 0;  // a whiteout is 0:0
  status.st_size = static_cast<off_t>(inode.size);
  status.st_blksize = image::kPageBytes;
  if (inode.type == FileType::regular) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < inode.count; ++i) bytes += image::round_up_to_page(index().extent(inode, i).length);
    status.st_blocks = static_cast<blkcnt_t>(bytes / kStatusBlockBytes);
  }
  const timespec time{.tv_sec = inode.mtime.seconds, .tv_nsec = static_cast<long>(inode.mtime.nanoseconds)};
  status.st_atim = time;
  status.st_mtim = time;
  status.st_ctim = time;
  return status;
}

/// Ids within values are shifted as the kernel does it for a mount with an id map.
std::string FuseTree::shown_value(std::string_view name, std::string_view value) const {
  std::string shown(value);
  if (id_base_ == 0) return shown;
  const auto shift = [this, &shown](size_t at) {
    const uint32_t id = shown_id(load<uint32_t>(shown, at));
    std::memcpy(shown.data() + at, &id, sizeof id);
  };
  if (name.starts_with(kAclPrefix)) {
    for (size_t at = kAclHeaderBytes; at + kAclEntryBytes <= shown.size(); at += kAclEntryBytes) {
      const auto tag = load<uint16_t>(shown, at);
      if (tag == kAclUser || tag == kAclGroup) shift(at + kAclIdOffset);
    }
  } else if (name == kCapability && shown.size() == kCapabilityV3Bytes) {
    shift(kCapabilityRootOffset);
  }
  return shown;
}

std::optional<std::string> FuseTree::xattr(const InodeView& inode, std::string_view name) const {
  if (inode.opaque && name == kOpaque) return "y";
  for (uint32_t i = 0; i < inode.xattr_count; ++i) {
    const auto xattr = index().xattr(inode, i);
    if (xattr.name == name) return shown_value(name, xattr.value);
  }
  return std::nullopt;
}

std::string FuseTree::xattr_names(const InodeView& inode, Trusted trusted) const {
  std::string names;
  const auto add = [&names, trusted](std::string_view name) {
    if (trusted == Trusted::shown || !name.starts_with(kTrustedPrefix)) names.append(name).push_back('\0');
  };
  for (uint32_t i = 0; i < inode.xattr_count; ++i) add(index().xattr(inode, i).name);
  if (inode.opaque) add(kOpaque);
  return names;
}

/// The first extent that ends behind the offset; the count when there is none.
uint32_t FuseTree::first_extent_behind(const InodeView& file, uint64_t offset) const {
  uint32_t low = 0;
  uint32_t high = file.count;
  while (low < high) {
    const uint32_t middle = low + (high - low) / 2;
    const auto extent = index().extent(file, middle);
    if (extent.offset + extent.length > offset) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

std::vector<FilePiece> FuseTree::pieces(const InodeView& file, uint64_t offset, uint64_t size) const {
  std::vector<FilePiece> pieces;
  if (offset >= file.size) return pieces;
  const uint64_t end = offset + std::min(size, file.size - offset);
  const auto add = [&pieces](const FilePiece& piece) {
    if (piece.length == 0) return;
    if (!pieces.empty() && pieces.back().pack == piece.pack &&
        (piece.pack == nullptr || pieces.back().offset + pieces.back().length == piece.offset)) {
      pieces.back().length += piece.length;
    } else {
      pieces.push_back(piece);
    }
  };
  uint64_t at = offset;
  for (uint32_t i = first_extent_behind(file, offset); i < file.count && at < end; ++i) {
    const auto extent = index().extent(file, i);
    const uint64_t start = std::clamp(extent.offset, at, end);
    add({.length = start - at});
    at = start;
    const uint64_t stop = std::min(extent.offset + extent.length, end);
    if (stop <= at) break;
    const auto place = index().location(extent.chunk);
    add({.pack = layer_->pack(place.pack).get(),
         .number = place.pack,
         .offset = place.plain_offset + (at - extent.offset),
         .length = stop - at});
    at = stop;
  }
  add({.length = end - at});
  return pieces;
}

std::optional<uint64_t> FuseTree::data_from(const InodeView& file, uint64_t offset) const {
  const uint32_t i = first_extent_behind(file, offset);
  if (i == file.count) return std::nullopt;
  return std::max(offset, index().extent(file, i).offset);
}

uint64_t FuseTree::hole_from(const InodeView& file, uint64_t offset) const {
  for (uint32_t i = first_extent_behind(file, offset); i < file.count; ++i) {
    const auto extent = index().extent(file, i);
    if (extent.offset > offset) break;
    offset = extent.offset + extent.length;
  }
  return std::min(offset, file.size);
}

}  // namespace hearth::mount
