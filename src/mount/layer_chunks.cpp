#include "mount/layer_chunks.hpp"

#include <algorithm>
#include <utility>

namespace hearth::mount {

LayerChunks::LayerChunks(std::shared_ptr<const image::LayerIndex> index, std::string workspace)
    : index_(std::move(index)), workspace_(std::move(workspace)) {
  CHECK_PROMISE(index_->is_page_mapped());
  starts_.assign(size_t{index_->pack_count()} + 1, 0);
  for (uint32_t i = 0; i < index_->chunk_count(); ++i) ++starts_[index_->location(i).pack + 1];
  for (size_t i = 1; i < starts_.size(); ++i) starts_[i] += starts_[i - 1];
  // Page in the plain space (18 bits), then the chunk: sorting plain numbers is what takes the time of a mount.
  std::vector<uint64_t> keys(index_->chunk_count());
  auto next = starts_;
  for (uint32_t i = 0; i < index_->chunk_count(); ++i) {
    const auto place = index_->location(i);
    keys[next[place.pack]++] = (place.plain_offset / kPageBytes) << 32U | i;
  }
  for (size_t pack = 0; pack + 1 < starts_.size(); ++pack) {
    std::sort(keys.begin() + starts_[pack], keys.begin() + starts_[pack + 1]);
  }
  order_.resize(keys.size());
  std::ranges::transform(keys, order_.begin(), [](uint64_t key) { return static_cast<uint32_t>(key); });
}

PackChunk pack_chunk(std::shared_ptr<const LayerChunks> layer, uint32_t number) {
  const auto& index = layer->index();
  const auto place = index.location(number);
  const auto info = index.chunk(number);
  return {.layer = std::move(layer),
          .number = number,
          .plain_offset = place.plain_offset,
          .length = info.length,
          .stored_offset = place.offset,
          .stored_length = place.stored_length,
          .encoding = place.encoding,
          .digest = info.digest};
}

}  // namespace hearth::mount
