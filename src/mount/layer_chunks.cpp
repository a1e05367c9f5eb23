#include "mount/layer_chunks.hpp"

#include <algorithm>
#include <utility>

namespace hearth::mount {

LayerChunks::LayerChunks(std::shared_ptr<const image::LayerIndex> index, std::string workspace)
    : index_(std::move(index)), workspace_(std::move(workspace)) {
  CHECK_PROMISE(index_->is_page_mapped());
  starts_.assign(size_t{index_->pack_count()} + 1, 0);
  std::vector<uint64_t> plain_offsets(index_->chunk_count());
  std::vector<uint32_t> packs(index_->chunk_count());
  for (uint32_t i = 0; i < index_->chunk_count(); ++i) {
    const auto place = index_->location(i);
    plain_offsets[i] = place.plain_offset;
    packs[i] = place.pack;
    ++starts_[place.pack + 1];
  }
  for (size_t i = 1; i < starts_.size(); ++i) starts_[i] += starts_[i - 1];
  order_.resize(index_->chunk_count());
  auto next = starts_;
  for (uint32_t i = 0; i < index_->chunk_count(); ++i) order_[next[packs[i]]++] = i;
  for (size_t pack = 0; pack + 1 < starts_.size(); ++pack) {
    std::sort(order_.begin() + starts_[pack], order_.begin() + starts_[pack + 1],
              [&plain_offsets](uint32_t a, uint32_t b) { return plain_offsets[a] < plain_offsets[b]; });
  }
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
