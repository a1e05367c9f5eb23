// The tier behind all others: the object store, in the scopes of the workspaces that use a pack.
#pragma once

#include "blob/object_store.hpp"
#include "mount/chunk_tier.hpp"

#include <memory>
#include <mutex>
#include <unordered_map>

namespace hearth::mount {

class StoreTier final : public ChunkTier {
 public:
  explicit StoreTier(std::shared_ptr<blob::ObjectStore> store) : store_(std::move(store)) {}

  std::string_view name() const override { return "store"; }
  /// Scopes are asked in order until one has the pack; where it was is remembered. In round r the r-th scope is
  /// first.
  Result<ChunkBytes> read(const ChunkRead& what) override;

 private:
  static constexpr size_t kRememberedMax = 65536;
  std::vector<image::StoreScope> order(const ChunkRead& what);
  void remember(const Digest& pack, const image::StoreScope& scope);

  std::shared_ptr<blob::ObjectStore> store_;
  std::mutex mutex_;
  std::unordered_map<Digest, image::StoreScope> found_in_;
};

}  // namespace hearth::mount
