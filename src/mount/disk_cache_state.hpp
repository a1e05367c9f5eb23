// Inside of DiskCache: what is where, in use or not, and what is evicted next.
#pragma once

#include "mount/cache_disk.hpp"
#include "mount/disk_cache.hpp"

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace hearth::mount {

/// How much is still to be evicted.
struct EvictionNeed {
  std::vector<uint64_t> on_disk;
  uint64_t in_all = 0;

  bool nothing() const {
    return in_all == 0 && std::ranges::all_of(on_disk, [](uint64_t bytes) { return bytes == 0; });
  }
  bool wants(size_t disk) const { return in_all > 0 || on_disk[disk] > 0; }
  void freed(size_t disk, uint64_t bytes) {
    in_all -= std::min(in_all, bytes);
    on_disk[disk] -= std::min(on_disk[disk], bytes);
  }
};

class DiskCache::State : public std::enable_shared_from_this<State> {
 public:
  explicit State(CacheOptions options);
  Result<> open_disks();

  Result<std::shared_ptr<PackFile>> pack(const image::PackInfo& info, UniqueFd data);
  Result<PackView> view(const Digest& pack) const;
  std::vector<std::shared_ptr<PackFile>> open_packs() const;
  Result<std::filesystem::path> layer_path(const Digest& layer, std::string_view suffix);
  void touch_layer(const Digest& layer);

  uint64_t enforce_bounds();
  bool evict_one(CacheDisk::Found::Kind kind, const Digest& digest);
  CacheUsage usage() const;

  // For the rooms of pack files.
  bool make_room(size_t disk, uint64_t bytes);
  void stored(uint64_t bytes);
  bool is_tight(size_t disk) const { return disks_[disk]->tight; }
  void disk_failed(size_t disk, std::string_view what);
  void closed(const Digest& pack, uint64_t allocated_bytes);

 private:
  using Kind = CacheDisk::Found::Kind;
  struct Disk {
    explicit Disk(CacheDisk at) : place(std::move(at)) {}
    CacheDisk place;
    uint64_t min_free_bytes = 0;
    std::atomic<bool> failed{false};
    std::atomic<bool> tight{false};  // over its bounds, and nothing is left to be evicted
  };
  struct Entry {
    size_t disk = 0;
    uint64_t bytes = 0;  // of an open pack: when it was last looked at
    WallTime last_used;
    std::weak_ptr<PackFile> open;
  };
  using Entries = std::unordered_map<Digest, Entry>;

  // `mutex_` is held, and `alive` keeps what was looked at: a pack file must not end under the lock.
  using Alive = std::vector<std::shared_ptr<PackFile>>;
  Result<> take_stock(size_t disk);
  size_t emptiest_disk() const;
  uint64_t count_bytes(Alive& alive);
  EvictionNeed need(Alive& alive);
  uint64_t evict(EvictionNeed& need, Alive& alive);
  bool remove(Kind kind, const Digest& digest, const Entry& entry);

  const CacheOptions options_;
  const Digest epoch_;
  DiskIo& io_;
  std::vector<std::unique_ptr<Disk>> disks_;

  mutable std::mutex mutex_;
  Entries packs_;
  Entries layers_;
  std::atomic<uint64_t> stored_since_check_{0};
  std::atomic<bool> checking_{false};

  Gauge* bytes_metric_ = nullptr;
  Counter* evictions_metric_ = nullptr;
  Counter* evicted_bytes_metric_ = nullptr;
  Counter* disk_errors_metric_ = nullptr;
};

}  // namespace hearth::mount
