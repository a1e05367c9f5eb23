// Descriptors of a layer's directories while its tree is written, opened on demand from the root down.
#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "image/layer_index.hpp"

#include <cstdint>
#include <unordered_map>
#include <vector>

namespace hearth::mount {

/// Where every inode is found: its first name. Built once, shared by threads.
class InodePlaces {
 public:
  /// exhausted when directories are nested deeper than any path can say.
  static Result<InodePlaces> of(const image::LayerIndex& index);

  uint32_t directory(uint32_t inode) const { return places_[inode].directory; }
  /// Entry number of the name in that directory.
  uint32_t entry(uint32_t inode) const { return places_[inode].entry; }
  std::string_view name(const image::LayerIndex& index, uint32_t inode) const {
    return index.entry(index.inode(directory(inode)), entry(inode)).name;
  }

 private:
  struct Place {
    uint32_t directory;
    uint32_t entry;
  };
  std::vector<Place> places_;
};

/// Not thread-safe: one a thread. Keeps at most kOpenMax descriptors.
class DirectoryCache {
 public:
  DirectoryCache(const image::LayerIndex& index, const InodePlaces& places, int root)
      : index_(index), places_(places), root_(root) {}

  /// Descriptor of a directory that exists already; valid until the next call.
  Result<int> open(uint32_t directory);

 private:
  static constexpr size_t kOpenMax = 512;
  const image::LayerIndex& index_;
  const InodePlaces& places_;
  int root_;
  std::unordered_map<uint32_t, UniqueFd> open_;
};

}  // namespace hearth::mount
