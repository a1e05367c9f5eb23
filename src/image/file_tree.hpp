// A file tree in memory, made of inodes so that hard links share: what a merge or a directory walk ends in.
#pragma once

#include "image/layer_index.hpp"
#include "oci/file_metadata.hpp"

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace hearth::image {

using InodeId = uint32_t;
inline constexpr InodeId kRootInode = 0;

/// The first bytes of a .pyc file: magic, flags, source time, source size.
using PycHead = std::array<char, 16>;

/// About 250 bytes a file. Not thread-safe.
class FileTree {
 public:
  using Children = std::map<std::string, InodeId, std::less<>>;

  struct Inode {
    FileType type = FileType::regular;
    bool opaque = false;
    uint32_t links = 0;  // names; 0 = removed
    FileAttributes attributes;
    Device device;
    uint64_t size = 0;                   // regular files
    std::string target;                  // symlinks
    std::vector<Extent> extents;         // regular files; `chunk` is a ticket of the ChunkWriter
    std::unique_ptr<Children> children;  // directories only
  };

  /// Only a root directory: 0755, owner root, time 0.
  FileTree();

  Inode& inode(InodeId id) { return inodes_[id]; }
  const Inode& inode(InodeId id) const { return inodes_[id]; }

  /// An inode without a name yet. A directory gets its empty children.
  InodeId add(Inode inode);
  /// Gives it a (further) name; the name must be free.
  void link(InodeId directory, std::string_view name, InodeId id);
  /// Takes a name away, with all below it; inodes without names are forgotten. Nothing happens if there is no such
  /// name.
  void unlink(InodeId directory, std::string_view name);
  /// Removes all names in a directory.
  void clear(InodeId directory);
  std::optional<InodeId> child(InodeId directory, std::string_view name) const;

  void set_pyc_head(InodeId id, const PycHead& head) { pyc_heads_[id] = head; }
  /// .pyc files in __pycache__ whose recorded source time or size is not that of the source beside it.
  uint64_t count_stale_pyc() const;

 private:
  void drop_name(InodeId id);
  bool is_stale(const Inode& source, const PycHead& head) const;

  std::deque<Inode> inodes_;  // references stay valid
  std::unordered_map<InodeId, PycHead> pyc_heads_;
};

}  // namespace hearth::image
