// The xattrs of a layer as EROFS stores them: behind their inode, or, where many inodes have the same one, once in the
// shared area.
#pragma once

#include "base/result.hpp"
#include "image/layer_index.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hearth::image::erofs {

/// Made once a layer. Memory: what the different xattrs of the layer need, not the inodes. Views point into the index,
/// which must outlive it.
class Xattrs {
 public:
  /// invalid_argument for an xattr that EROFS has no words for, exhausted for more than it can hold on an inode; both
  /// name the inode and the xattr. Another back end may still take the layer.
  static Result<Xattrs> plan(const LayerIndex& index);

  /// Bytes of the shared area, empty when nothing is shared.
  const std::string& shared_area() const { return shared_area_; }

  /// Bytes behind an inode for its xattrs: 0 without any, else a multiple of 4.
  uint32_t body_bytes(const InodeView& inode) const;
  /// Appends exactly that many.
  void append_body(const InodeView& inode, std::string& out) const;

 private:
  using Key = std::pair<std::string_view, std::string_view>;  // name, value
  struct Use {
    uint32_t inodes = 0;
    uint32_t id = 0;  // place in the shared area, in units of 4 bytes
    bool shared = false;
  };
  /// Of one inode: those in the shared area, then those behind the inode.
  struct Split {
    std::vector<uint32_t> shared;
    std::vector<XattrView> own;
    uint64_t bytes = 0;
  };

  explicit Xattrs(const LayerIndex& index) : index_(index) {}
  Result<> count();
  Result<> share();
  Split split(const InodeView& inode) const;

  const LayerIndex& index_;
  std::map<Key, Use> uses_;
  std::string shared_area_;
};

}  // namespace hearth::image::erofs
