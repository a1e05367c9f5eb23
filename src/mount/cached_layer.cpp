#include "mount/cached_layer.hpp"

#include <algorithm>
#include <utility>

namespace hearth::mount {

Result<std::shared_ptr<CachedLayer>> CachedLayer::open(DiskCache& cache, std::shared_ptr<const image::LayerIndex> index,
                                                       std::string workspace) {
  if (!index->is_page_mapped()) {
    return fail(ErrorCode::invalid_argument,
                "layer " + index->digest().to_string() +
                    " was made by an older version and cannot be mounted lazily; deploy it again");
  }
  auto chunks = std::make_shared<const LayerChunks>(std::move(index), std::move(workspace));
  auto layer = std::shared_ptr<CachedLayer>(new CachedLayer(std::move(chunks)));
  std::shared_ptr<PackFile> before;
  for (uint32_t i = 0; i < layer->index().pack_count(); ++i) {
    TRY(auto pack, cache.pack(layer->index().pack(i)));
    TRY_VOID(pack->add_layer(layer->chunks_, i));
    if (before) before->set_next(pack);
    before = pack;
    layer->packs_.push_back(std::move(pack));
  }
  return layer;
}

CachedLayer::~CachedLayer() {
  for (const auto& pack : packs_) pack->remove_layer(*chunks_);
}

bool CachedLayer::complete() const {
  return std::ranges::all_of(packs_, [](const auto& pack) { return pack->complete(); });
}

uint64_t CachedLayer::missing_bytes() const {
  uint64_t total = 0;
  for (const auto& pack : packs_) total += pack->missing_bytes();
  return total;
}

}  // namespace hearth::mount
