#include "mount/disk_cache_state.hpp"

#include "base/log.hpp"
#include "base/quantity.hpp"
#include "mount/boot_id.hpp"

#include <optional>
#include <utility>

namespace hearth::mount {

namespace {

/// Bounds are looked at each time so much was stored.
constexpr uint64_t kCheckEveryBytes = uint64_t{32} << 20;
/// A full disk is given at least so much room at once.
constexpr uint64_t kRoomBytes = uint64_t{64} << 20;
/// Eviction goes on until a bound is kept with a twentieth to spare, so that it is not at work all the time.
constexpr uint64_t kSpare = 20;
constexpr uint64_t kMinFreeDivisor = 10;

/// The part of the cache that one pack file sees.
template <class State>
class Room final : public CacheRoom {
 public:
  Room(std::shared_ptr<State> state, size_t disk) : state_(std::move(state)), disk_(disk) {}
  bool make_room(uint64_t bytes) override { return state_->make_room(disk_, bytes); }
  void stored(uint64_t bytes) override { state_->stored(bytes); }
  bool is_tight() const override { return state_->is_tight(disk_); }
  void disk_failed(std::string_view what) override { state_->disk_failed(disk_, what); }
  void closed(const Digest& pack, uint64_t allocated_bytes) override { state_->closed(pack, allocated_bytes); }

 private:
  std::shared_ptr<State> state_;
  size_t disk_;
};

}  // namespace

DiskCache::State::State(CacheOptions options)
    : options_(std::move(options)),
      epoch_(Digest::of(options_.epoch.empty() ? boot_id() : options_.epoch)),
      io_(options_.io != nullptr ? *options_.io : DiskIo::real()) {
  if (options_.metrics == nullptr) return;
  auto& metrics = *options_.metrics;
  bytes_metric_ = &metrics.gauge("hearth_imagefs_cache_bytes", "Bytes of packs and layers on this node's disks");
  evictions_metric_ = &metrics.counter("hearth_imagefs_cache_evictions_total", "Packs and layers that were evicted");
  evicted_bytes_metric_ = &metrics.counter("hearth_imagefs_cache_evicted_bytes_total", "Bytes that were evicted");
  disk_errors_metric_ = &metrics.counter("hearth_imagefs_cache_disk_errors_total", "I/O errors of the cache's disks");
}

Result<> DiskCache::State::open_disks() {
  if (options_.dirs.empty()) return fail(ErrorCode::invalid_argument, "the cache needs a directory");
  std::optional<Error> error;
  for (const auto& dir : options_.dirs) {
    auto opened = [&]() -> Result<> {
      TRY(auto place, CacheDisk::open(dir));
      TRY(const auto space, place.space());
      disks_.push_back(std::make_unique<Disk>(std::move(place)));
      disks_.back()->min_free_bytes = options_.min_free_bytes != 0
                                          ? options_.min_free_bytes
                                          : std::min(space.total_bytes / kMinFreeDivisor, kMinFreeBytesMax);
      if (auto taken = take_stock(disks_.size() - 1); !taken) {
        disks_.pop_back();
        return taken;
      }
      return {};
    }();
    if (opened) continue;
    if (opened.error().code == ErrorCode::denied) return opened;
    log_warning("a directory of the cache is left out", {{"dir", dir.string()}, {"error", opened.error().message}});
    error = opened.error();
  }
  if (disks_.empty()) return Unexpected(*error);
  return {};
}

Result<> DiskCache::State::take_stock(size_t disk) {
  const std::lock_guard lock(mutex_);
  const auto& place = disks_[disk]->place;
  return place.scan([&](const CacheDisk::Found& found) {
    auto& entries = found.kind == Kind::pack ? packs_ : layers_;
    const auto [at, is_new] = entries.try_emplace(found.digest, Entry{.disk = disk});
    if (!is_new && at->second.disk != disk) {
      // The disks were once put in another order, or copied. Whoever uses it keeps it.
      const auto removed =
          found.kind == Kind::pack ? place.remove_pack(found.digest) : place.remove_layer(found.digest);
      if (!removed) log_warning("the cache has a file twice", {{"error", removed.error().message}});
      return;
    }
    at->second.bytes += found.bytes;
    at->second.last_used = std::max(at->second.last_used, found.last_used);
  });
}

size_t DiskCache::State::emptiest_disk() const {
  size_t best = 0;
  std::optional<int64_t> best_free;
  for (size_t i = 0; i < disks_.size(); ++i) {
    const auto space = disks_[i]->place.space();
    if (disks_[i]->failed || !space) continue;
    const auto free = static_cast<int64_t>(space->free_bytes) - static_cast<int64_t>(disks_[i]->min_free_bytes);
    if (best_free && free <= *best_free) continue;
    best = i;
    best_free = free;
  }
  return best;
}

Result<std::shared_ptr<PackFile>> DiskCache::State::pack(const image::PackInfo& info, UniqueFd data) {
  Alive alive;
  const std::lock_guard lock(mutex_);
  const auto found = packs_.find(info.digest);
  if (found != packs_.end()) {
    if (auto open = found->second.open.lock()) {
      alive.push_back(open);
      if (open->plain_size() == info.plain_size) return open;
      return fail(ErrorCode::corrupt, "two layers give pack " + info.digest.hex() + " different sizes");
    }
  }
  const size_t disk = found != packs_.end() ? found->second.disk : emptiest_disk();
  const auto& place = disks_[disk]->place;
  TRY_VOID(CacheDisk::make_folder(place.data_path(info.digest)));
  TRY(auto file, PackFile::open(info,
                                {.data = place.data_path(info.digest),
                                 .present = place.present_path(info.digest),
                                 .epoch = epoch_,
                                 .io = &io_,
                                 .room = std::make_shared<Room<State>>(shared_from_this(), disk)},
                                std::move(data)));
  auto& entry = packs_[info.digest];
  entry.disk = disk;
  entry.open = file;
  return file;
}

Result<PackView> DiskCache::State::view(const Digest& pack) const {
  PackView::Files files;
  {
    const std::lock_guard lock(mutex_);
    const auto found = packs_.find(pack);
    if (found == packs_.end()) return fail(ErrorCode::not_found, "pack " + pack.hex() + " is not cached");
    if (auto open = found->second.open.lock()) return PackView(std::move(open));
    const auto& place = disks_[found->second.disk]->place;
    files = {.data = place.data_path(pack), .present = place.present_path(pack)};
  }
  return PackView::of_closed(files, pack, epoch_);
}

std::vector<std::shared_ptr<PackFile>> DiskCache::State::open_packs() const {
  Alive alive;
  const std::lock_guard lock(mutex_);
  for (const auto& [digest, entry] : packs_) {
    if (auto open = entry.open.lock()) alive.push_back(std::move(open));
  }
  return alive;
}

Result<std::filesystem::path> DiskCache::State::layer_path(const Digest& layer, std::string_view suffix) {
  const std::lock_guard lock(mutex_);
  const auto found = layers_.find(layer);
  const size_t disk = found != layers_.end() ? found->second.disk : emptiest_disk();
  auto path = disks_[disk]->place.layer_path(layer, suffix);
  TRY_VOID(CacheDisk::make_folder(path));
  if (found == layers_.end()) layers_[layer] = {.disk = disk, .last_used = wall_now()};
  return path;
}

void DiskCache::State::touch_layer(const Digest& layer) {
  const std::lock_guard lock(mutex_);
  const auto found = layers_.find(layer);
  if (found == layers_.end()) return;
  const auto& place = disks_[found->second.disk]->place;
  place.touch_layer(layer);
  found->second.bytes = place.layer_bytes(layer);
  found->second.last_used = wall_now();
}

uint64_t DiskCache::State::count_bytes(Alive& alive) {
  uint64_t total = 0;
  for (auto& [digest, entry] : packs_) {
    if (auto open = entry.open.lock()) {
      entry.bytes = open->allocated_bytes();
      entry.last_used = wall_now();
      open->touch();
      alive.push_back(std::move(open));
    }
    total += entry.bytes;
  }
  for (const auto& [digest, entry] : layers_) total += entry.bytes;
  if (bytes_metric_ != nullptr) bytes_metric_->set(static_cast<int64_t>(total));
  return total;
}

EvictionNeed DiskCache::State::need(Alive& alive) {
  EvictionNeed need{.on_disk = std::vector<uint64_t>(disks_.size(), 0)};
  const uint64_t used = count_bytes(alive);
  if (options_.max_bytes != 0 && used > options_.max_bytes) {
    need.in_all = used - options_.max_bytes + options_.max_bytes / kSpare;
  }
  for (size_t i = 0; i < disks_.size(); ++i) {
    const auto space = disks_[i]->place.space();
    const uint64_t floor = disks_[i]->min_free_bytes;
    if (space && space->free_bytes < floor) need.on_disk[i] = floor - space->free_bytes + floor / kSpare;
  }
  return need;
}

bool DiskCache::State::remove(Kind kind, const Digest& digest, const Entry& entry) {
  const auto& place = disks_[entry.disk]->place;
  const auto removed = kind == Kind::pack ? place.remove_pack(digest) : place.remove_layer(digest);
  if (!removed) {
    if (removed.error().code != ErrorCode::unavailable) {
      log_warning("could not evict from the cache", {{"error", removed.error().message}});
    }
    return false;
  }
  if (evictions_metric_ != nullptr) {
    evictions_metric_->add();
    evicted_bytes_metric_->add(entry.bytes);
  }
  return true;
}

uint64_t DiskCache::State::evict(EvictionNeed& need, Alive& alive) {
  struct Victim {
    Kind kind;
    Digest digest;
    Entry entry;
  };
  std::vector<Victim> victims;
  for (const Kind kind : {Kind::pack, Kind::layer}) {
    for (const auto& [digest, entry] : kind == Kind::pack ? packs_ : layers_) {
      if (auto open = entry.open.lock()) {
        alive.push_back(std::move(open));
      } else {
        victims.push_back({kind, digest, entry});
      }
    }
  }
  std::ranges::sort(victims, {}, [](const Victim& victim) { return victim.entry.last_used; });
  uint64_t freed = 0;
  for (const Victim& victim : victims) {
    if (need.nothing()) break;
    if (!need.wants(victim.entry.disk) || !remove(victim.kind, victim.digest, victim.entry)) continue;
    (victim.kind == Kind::pack ? packs_ : layers_).erase(victim.digest);
    need.freed(victim.entry.disk, victim.entry.bytes);
    freed += victim.entry.bytes;
  }
  if (freed > 0) log_info("evicted from the cache", {{"bytes", format_bytes(freed)}});
  return freed;
}

uint64_t DiskCache::State::enforce_bounds() {
  if (checking_.exchange(true)) return 0;  // somebody is at it
  uint64_t freed = 0;
  {
    Alive alive;
    const std::lock_guard lock(mutex_);
    auto wanted = need(alive);
    if (!wanted.nothing()) freed = evict(wanted, alive);
    for (size_t i = 0; i < disks_.size(); ++i) disks_[i]->tight = wanted.wants(i);
    if (freed > 0) count_bytes(alive);
  }
  checking_ = false;
  return freed;
}

bool DiskCache::State::evict_one(Kind kind, const Digest& digest) {
  Alive alive;
  const std::lock_guard lock(mutex_);
  auto& entries = kind == Kind::pack ? packs_ : layers_;
  const auto found = entries.find(digest);
  if (found == entries.end()) return false;
  if (auto open = found->second.open.lock()) {
    alive.push_back(std::move(open));
    return false;
  }
  if (!remove(kind, digest, found->second)) return false;
  entries.erase(found);
  return true;
}

bool DiskCache::State::make_room(size_t disk, uint64_t bytes) {
  Alive alive;
  const std::lock_guard lock(mutex_);
  EvictionNeed wanted{.on_disk = std::vector<uint64_t>(disks_.size(), 0)};
  wanted.on_disk[disk] = std::max(bytes, kRoomBytes);
  disks_[disk]->tight = true;  // until the bounds are looked at again
  return evict(wanted, alive) > 0;
}

void DiskCache::State::stored(uint64_t bytes) {
  if (stored_since_check_.fetch_add(bytes, std::memory_order_relaxed) + bytes < kCheckEveryBytes) return;
  stored_since_check_.store(0, std::memory_order_relaxed);
  enforce_bounds();
}

void DiskCache::State::disk_failed(size_t disk, std::string_view what) {
  if (disk_errors_metric_ != nullptr) disk_errors_metric_->add();
  if (disks_[disk]->failed.exchange(true)) return;
  log_error("a disk of the cache fails; nothing new is put on it",
            {{"dir", disks_[disk]->place.dir().string()}, {"what", what}});
}

void DiskCache::State::closed(const Digest& pack, uint64_t allocated_bytes) {
  const std::lock_guard lock(mutex_);
  const auto found = packs_.find(pack);
  if (found == packs_.end()) return;
  found->second.bytes = allocated_bytes;
  found->second.last_used = wall_now();
}

CacheUsage DiskCache::State::usage() const {
  Alive alive;
  CacheUsage usage;
  const std::lock_guard lock(mutex_);
  for (const auto& disk : disks_) {
    const auto space = disk->place.space();
    usage.disks.push_back({.dir = disk->place.dir(),
                           .bytes = 0,
                           .free_bytes = space ? space->free_bytes : 0,
                           .min_free_bytes = disk->min_free_bytes,
                           .failed = disk->failed});
  }
  const auto add = [&usage](const Entry& entry, uint64_t bytes) {
    usage.bytes += bytes;
    usage.disks[entry.disk].bytes += bytes;
  };
  for (const auto& [digest, entry] : packs_) {
    ++usage.packs;
    auto open = entry.open.lock();
    if (!open) {
      add(entry, entry.bytes);
      continue;
    }
    const uint64_t bytes = open->allocated_bytes();
    add(entry, bytes);
    ++usage.open_packs;
    usage.open_bytes += bytes;
    alive.push_back(std::move(open));
  }
  for (const auto& [digest, entry] : layers_) {
    ++usage.layers;
    add(entry, entry.bytes);
  }
  return usage;
}

}  // namespace hearth::mount
