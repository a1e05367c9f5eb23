// The tier behind all others: the object store, or a mirror of it, in the scopes of the workspaces that use a pack.
#pragma once

#include "blob/bandwidth_limiter.hpp"
#include "blob/range_source.hpp"
#include "mount/chunk_tier.hpp"

#include <memory>
#include <mutex>
#include <unordered_map>

namespace hearth::mount {

class StoreTier final : public ChunkTier {
 public:
  struct Options {
    bool has_mirror = false;                           // the source asks one first
    blob::BandwidthLimiter* prefetch_limit = nullptr;  // borrowed; null: as fast as it goes
  };
  explicit StoreTier(std::shared_ptr<blob::RangeSource> source) : StoreTier(std::move(source), Options{}) {}
  StoreTier(std::shared_ptr<blob::RangeSource> source, const Options& options)
      : source_(std::move(source)), options_(options) {}

  std::string_view name() const override { return kStore; }
  std::vector<std::string_view> sources() const override {
    if (options_.has_mirror) return {kStore, kMirror};
    return {kStore};
  }
  /// Scopes are asked in order until one has the pack; where it was is remembered. In round r the r-th scope is
  /// first, and mirrors are passed by.
  Result<ChunkBytes> read(const ChunkRead& what) override;

 private:
  static constexpr size_t kRememberedMax = 65536;
  static constexpr std::string_view kStore = "store";
  static constexpr std::string_view kMirror = "mirror";
  std::vector<image::StoreScope> order(const ChunkRead& what);
  void remember(const Digest& pack, const image::StoreScope& scope);

  std::shared_ptr<blob::RangeSource> source_;
  Options options_;
  std::mutex mutex_;
  std::unordered_map<Digest, image::StoreScope> found_in_;
};

}  // namespace hearth::mount
