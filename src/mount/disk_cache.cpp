#include "mount/disk_cache.hpp"

#include "mount/disk_cache_state.hpp"

#include <utility>

namespace hearth::mount {

DiskCache::DiskCache(std::shared_ptr<State> state) : state_(std::move(state)) {}
DiskCache::~DiskCache() = default;

Result<std::shared_ptr<DiskCache>> DiskCache::open(CacheOptions options) {
  auto state = std::make_shared<State>(std::move(options));
  TRY_VOID(state->open_disks());
  return std::shared_ptr<DiskCache>(new DiskCache(std::move(state)));
}

Result<std::shared_ptr<PackFile>> DiskCache::pack(const image::PackInfo& info, UniqueFd data) {
  return state_->pack(info, std::move(data));
}

Result<PackView> DiskCache::view(const Digest& pack) const {
  return state_->view(pack);
}

std::vector<std::shared_ptr<PackFile>> DiskCache::open_packs() const {
  return state_->open_packs();
}

Result<std::filesystem::path> DiskCache::layer_path(const Digest& layer, std::string_view suffix) {
  return state_->layer_path(layer, suffix);
}

void DiskCache::touch_layer(const Digest& layer) {
  state_->touch_layer(layer);
}

uint64_t DiskCache::enforce_bounds() {
  return state_->enforce_bounds();
}

bool DiskCache::evict_pack(const Digest& pack) {
  return state_->evict_one(CacheDisk::Found::Kind::pack, pack);
}

bool DiskCache::evict_layer(const Digest& layer) {
  return state_->evict_one(CacheDisk::Found::Kind::layer, layer);
}

CacheUsage DiskCache::usage() const {
  return state_->usage();
}

}  // namespace hearth::mount
