// Which chunks lie in packs that the store has already, so that a build can refer to them instead of storing them
// again. Told by the tables at the ends of the packs, which are kept in a folder of the node: a pack never changes.
#pragma once

#include "base/digest.hpp"
#include "base/result.hpp"
#include "blob/object_store.hpp"
#include "image/layer_index.hpp"
#include "image/store_scope.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::image {

/// Where a chunk lies; `pack` is a number of KnownChunks.
struct KnownPlace {
  uint32_t pack = 0;
  uint64_t offset = 0;
  uint64_t plain_offset = 0;
  uint32_t stored_length = 0;
  ChunkEncoding encoding = ChunkEncoding::raw;
};

/// What a build may refer to, as it was when it looked. Immutable, hence safe from any number of threads.
class KnownChunks {
 public:
  /// A chunk with its place, 56 bytes.
  struct Entry {
    Digest digest;
    uint32_t length = 0;
    uint32_t pack = 0;
    uint32_t offset = 0;  // packs are smaller than 4 GiB
    uint32_t plain_page = 0;
    uint32_t stored_length = 0;
    ChunkEncoding encoding = ChunkEncoding::raw;
  };

  /// Of several places of a chunk the one in the first pack is kept.
  KnownChunks(std::vector<PackInfo> packs, std::vector<Entry> entries);

  std::optional<KnownPlace> find(const Digest& digest, uint32_t length) const;
  const PackInfo& pack(uint32_t number) const { return packs_[number]; }
  size_t pack_count() const { return packs_.size(); }
  size_t chunk_count() const { return entries_.size(); }

 private:
  std::vector<PackInfo> packs_;
  std::vector<Entry> entries_;  // sorted by digest
};

struct CatalogueLimits {
  uint64_t disk_bytes = 256 * 1024 * 1024;  // tables that are kept; the ones used longest ago go first
  uint64_t chunks = 1'000'000;              // in memory during one build
  size_t fetched_packs = 512;  // tables read from the store for one build, those of the largest packs first
};

/// Thread-safe; also several processes may use one folder. Nothing in it is needed: what is lost is read again.
class ChunkCatalogue {
 public:
  /// Makes the folder.
  static Result<std::shared_ptr<ChunkCatalogue>> open(std::filesystem::path directory, CatalogueLimits limits = {});

  /// What lies in the packs of these scopes now, of those whose key `may_use` accepts; what was used last comes first
  /// where not all fits. Errors are the store's.
  using MayUse = std::function<bool(const std::string& pack_key)>;
  Result<std::shared_ptr<const KnownChunks>> look(blob::ObjectStore& store, std::span<const StoreScope> scopes,
                                                  const MayUse& may_use);

  /// Keeps the table of a pack that was just written.
  void remember(const Digest& pack, std::string_view table);
  /// Says that a pack was of use.
  void touch(const Digest& pack);

 private:
  ChunkCatalogue(std::filesystem::path directory, CatalogueLimits limits)
      : directory_(std::move(directory)), limits_(limits) {}
  std::filesystem::path path_of(const Digest& pack) const { return directory_ / pack.hex(); }
  void keep_within_limit() const;

  std::filesystem::path directory_;
  CatalogueLimits limits_;
};

}  // namespace hearth::image
