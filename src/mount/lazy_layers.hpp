// Opens layers whose content comes when it is read: their indexes, and the files of their packs on this machine.
#pragma once

#include "base/digest.hpp"
#include "base/result.hpp"
#include "blob/object_store.hpp"
#include "image/layer_index.hpp"
#include "image/layer_leases.hpp"
#include "mount/cached_layer.hpp"
#include "mount/disk_cache.hpp"

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hearth::mount {

/// Opens layers: the index from the cache or from the store (then it is kept in the cache), the packs from the cache.
/// Thread-safe. What is on disk is verified when it is read, so nothing here needs to be synced.
class LazyLayers {
 public:
  /// What is open is leased (docs/formats/store.md); `leases` may be null.
  LazyLayers(std::shared_ptr<blob::ObjectStore> store, std::shared_ptr<DiskCache> cache,
             std::shared_ptr<image::LayerLeases> leases = nullptr)
      : store_(std::move(store)), cache_(std::move(cache)), leases_(std::move(leases)) {}

  /// Fill descriptors of packs that an earlier process had opened: they are used instead of opening the files, which
  /// may carry marks. Before any layer is opened.
  void inherit(std::vector<std::pair<Digest, UniqueFd>> packs);

  /// Errors: not_found, unavailable, corrupt; invalid_argument for an index of version 1, which no page map can show.
  Result<std::shared_ptr<CachedLayer>> open(const std::string& workspace, const Digest& digest);
  /// The same from what is on this machine alone, for layers mounted by an earlier process: not_found when it is not.
  Result<std::shared_ptr<CachedLayer>> reopen(const Digest& digest);
  /// Whether this machine had it open before, and may have its content.
  bool knows(const Digest& digest) const;

 private:
  Result<std::shared_ptr<const image::LayerIndex>> local_index(const Digest& digest) const;
  Result<std::shared_ptr<const image::LayerIndex>> fetched_index(const std::string& workspace,
                                                                 const Digest& digest) const;
  Result<> note_compared(const Digest& digest) const;
  bool was_compared_lately(const Digest& digest) const;
  bool is_current(const std::string& workspace, const Digest& digest) const;
  Result<> keep(const std::string& workspace, const Digest& digest, std::string_view index) const;
  Result<std::shared_ptr<CachedLayer>> with_packs(const std::string& workspace,
                                                  std::shared_ptr<const image::LayerIndex> index);
  UniqueFd inherited(const Digest& pack);

  std::shared_ptr<blob::ObjectStore> store_;
  std::shared_ptr<DiskCache> cache_;
  std::shared_ptr<image::LayerLeases> leases_;
  std::mutex mutex_;
  std::map<std::string, UniqueFd> inherited_;  // by hex of the pack's digest
};

}  // namespace hearth::mount
