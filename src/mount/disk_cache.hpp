// What a node keeps of packs and layers on its disks: bounded, the least recently used goes first.
#pragma once

#include "base/clock.hpp"
#include "base/digest.hpp"
#include "base/metrics.hpp"
#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "image/layer_index.hpp"
#include "mount/disk_io.hpp"
#include "mount/pack_file.hpp"
#include "mount/pack_view.hpp"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::mount {

/// Of free space nothing is taken below a tenth of a file system, or this where a tenth is more.
inline constexpr uint64_t kMinFreeBytesMax = uint64_t{32} << 30;

struct CacheOptions {
  /// One or more, best on different disks, of local file systems (ext4, xfs, btrfs). Made if missing.
  std::vector<std::filesystem::path> dirs;
  /// Bound of all of them together; 0: only free space bounds them.
  uint64_t max_bytes = 0;
  /// To be left free on each file system; 0: a tenth of it, at most kMinFreeBytesMax.
  uint64_t min_free_bytes = 0;
  /// Names the time during which nobody but us can have changed the files: what was verified in another epoch is
  /// verified again before use. Empty: this boot. Who keeps the marks and mounts alive adds its own identity.
  std::string epoch;
  MetricRegistry* metrics = nullptr;  // borrowed, outlives the cache; null: none
  DiskIo* io = nullptr;               // likewise; null: the real one
};

struct DiskUsage {
  std::filesystem::path dir;
  uint64_t bytes = 0;           // that the cache takes on it
  uint64_t free_bytes = 0;      // left to us
  uint64_t min_free_bytes = 0;  // to be left
  bool failed = false;          // it answered with I/O errors; nothing new is put on it
};

struct CacheUsage {
  uint64_t bytes = 0;
  uint64_t open_bytes = 0;  // of packs that a layer uses: these are never evicted
  uint64_t packs = 0;
  uint64_t open_packs = 0;
  uint64_t layers = 0;  // with metadata files
  std::vector<DiskUsage> disks;
};

/// Thread-safe. Owns in each of its dirs: packs/<2 hex>/<hex>.data and .present (docs/formats/node-cache.md),
/// layers/<2 hex>/<hex>.<suffix>, and cache.lock.
///
/// Bounds: when what is cached exceeds max_bytes, or less than min_free_bytes is left on a disk, packs and layers are
/// evicted that nobody has open, least recently used first. What mounted layers need is kept whatever the bounds say:
/// then prefetch stops (PackFile::room_for_prefetch) and demand goes on to the last byte of the disk.
class DiskCache {
 public:
  /// Takes stock of what is there, and clears what a killed process left half-made. A dir that cannot be used is left
  /// out with a warning, as long as there is another. denied: another process has it; else the last dir's error.
  static Result<std::shared_ptr<DiskCache>> open(CacheOptions options);
  ~DiskCache();
  DiskCache(const DiskCache&) = delete;
  DiskCache& operator=(const DiskCache&) = delete;

  /// The pack's file; the one that is open already, if so. While anybody has it, it is not evicted. `data`: see
  /// PackFile::open; ignored (closed) when the pack is open already.
  Result<std::shared_ptr<PackFile>> pack(const image::PackInfo& info, UniqueFd data = {});
  /// To look at what there is of a pack, used by layers or not. not_found when nothing was verified in this epoch.
  Result<PackView> view(const Digest& pack) const;
  /// Those that somebody has.
  std::vector<std::shared_ptr<PackFile>> open_packs() const;

  /// Where a metadata file of a layer is, or is to be written (beside it, then renamed: names that begin with ".tmp-"
  /// are cleared at start). Its folder exists. `suffix`: letters and digits.
  Result<std::filesystem::path> layer_path(const Digest& layer, std::string_view suffix);
  /// The layer's files were written, or are used: they are now the most recently used ones.
  void touch_layer(const Digest& layer);

  /// Evicts down to the bounds. Returns the bytes that were freed. Called by itself as bytes are stored; not at open(),
  /// when those who mounted layers in an earlier life have not opened them again yet.
  uint64_t enforce_bounds();
  /// Evicts this pack or layer, unless it is in use by anybody, the kernel included.
  bool evict_pack(const Digest& pack);
  bool evict_layer(const Digest& layer);

  CacheUsage usage() const;

 private:
  class State;
  explicit DiskCache(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;  // pack files keep it, too
};

}  // namespace hearth::mount
