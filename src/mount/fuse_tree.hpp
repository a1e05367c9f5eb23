// A layer as FUSE shows it: inode numbers, attributes and xattrs with shifted ids, and where a file's bytes are.
#pragma once

#include "image/layer_index.hpp"
#include "mount/cached_layer.hpp"

#include <sys/stat.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::mount {

/// Ids below this are shifted by id_base; what no id map of a container covers is shown as nobody.
inline constexpr uint32_t kShiftedIds = 65536;
inline constexpr uint32_t kOverflowId = 65534;

/// A run of a file's bytes: in a pack's plain space, or a hole.
struct FilePiece {
  PackFile* pack = nullptr;  // null: a hole, which reads as zeros
  uint32_t number = 0;       // of the pack in the layer
  uint64_t offset = 0;       // in the pack's plain space
  uint64_t length = 0;
};

/// Immutable, shared by threads. An inode's number here is its number in the index + 1, in every life of imagefs.
class FuseTree {
 public:
  /// `id_base` 0: ids are as in the image.
  FuseTree(std::shared_ptr<const CachedLayer> layer, uint32_t id_base);

  const image::LayerIndex& index() const { return layer_->index(); }
  const CachedLayer& layer() const { return *layer_; }
  uint32_t id_base() const { return id_base_; }
  /// Whether any inode has xattrs, or ACLs among them.
  bool has_xattrs() const { return has_xattrs_; }
  bool has_acls() const { return has_acls_; }

  std::optional<image::InodeView> inode(uint64_t ino) const;
  struct stat status(const image::InodeView& inode) const;
  /// The directory that holds a directory.
  image::InodeView parent(const image::InodeView& directory) const { return index().inode(directory.parent); }

  std::optional<std::string> xattr(const image::InodeView& inode, std::string_view name) const;
  /// Names, each ended by a zero, as listxattr(2) has them. Those of trusted.* are for the host's root alone.
  enum class Trusted { shown, hidden };
  std::string xattr_names(const image::InodeView& inode, Trusted trusted) const;

  /// What a read gets, in order, without gaps; up to the file's end. Neighbours in a pack are one piece.
  std::vector<FilePiece> pieces(const image::InodeView& file, uint64_t offset, uint64_t size) const;
  /// lseek(2)'s SEEK_DATA and SEEK_HOLE from an offset before the end; nullopt: no data from there on.
  std::optional<uint64_t> data_from(const image::InodeView& file, uint64_t offset) const;
  uint64_t hole_from(const image::InodeView& file, uint64_t offset) const;

 private:
  uint32_t shown_id(uint32_t id) const;
  std::string shown_value(std::string_view name, std::string_view value) const;
  uint32_t first_extent_behind(const image::InodeView& file, uint64_t offset) const;

  std::shared_ptr<const CachedLayer> layer_;
  uint32_t id_base_;
  bool has_xattrs_ = false;
  bool has_acls_ = false;
};

}  // namespace hearth::mount
