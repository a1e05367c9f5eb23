#include "mount/content_owners.hpp"

#include <algorithm>
#include <utility>

namespace hearth::mount {

namespace {

constexpr uint32_t kNobody = UINT32_MAX;

/// The first of the pack's chunks that ends after `offset`.
auto first_after(const LayerChunks& layer, uint32_t pack, uint64_t offset) {
  const auto chunks = layer.in_pack(pack);
  return std::ranges::partition_point(chunks, [&layer, offset](uint32_t chunk) {
    const auto& index = layer.index();
    return image::round_up_to_page(index.location(chunk).plain_offset + index.chunk(chunk).length) <= offset;
  });
}

}  // namespace

Result<ContentOwners> ContentOwners::of(std::shared_ptr<const LayerChunks> layer) {
  const image::LayerIndex& index = layer->index();
  TRY(auto places, InodePlaces::of(index));
  ContentOwners result(std::move(layer), std::move(places));
  result.owners_.assign(index.chunk_count(), {kNobody, 0});
  for (uint32_t number = 0; number < index.inode_count(); ++number) {
    const auto inode = index.inode(number);
    if (inode.type != image::FileType::regular) continue;
    for (uint32_t i = 0; i < inode.count; ++i) {
      Owner& owner = result.owners_[index.extent(inode, i).chunk];
      if (owner.inode == kNobody) owner = {number, i};
    }
  }
  return result;
}

std::optional<ContentOwners::Owner> ContentOwners::owner(uint32_t chunk) const {
  if (chunk >= owners_.size() || owners_[chunk].inode == kNobody) return std::nullopt;
  return owners_[chunk];
}

std::string ContentOwners::path(uint32_t inode) const {
  std::string path;
  for (uint32_t at = inode; at != 0; at = directory(at)) path.insert(0, "/" + std::string(name(at)));
  return path.empty() ? "/" : path;
}

uint32_t first_extent_behind(const image::LayerIndex& index, const image::InodeView& file, uint64_t offset) {
  uint32_t low = 0;
  uint32_t high = file.count;
  while (low < high) {
    const uint32_t middle = low + (high - low) / 2;
    const auto extent = index.extent(file, middle);
    if (extent.offset + extent.length <= offset) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

std::optional<uint32_t> chunk_at(const LayerChunks& layer, uint32_t pack, uint64_t offset) {
  const auto found = first_after(layer, pack, offset);
  if (found == layer.in_pack(pack).end() || layer.index().location(*found).plain_offset > offset) return std::nullopt;
  return *found;
}

image::PageRuns runs_at(const LayerChunks& layer, uint32_t pack, const PageRange& range) {
  image::PageRuns runs;
  const image::LayerIndex& index = layer.index();
  for (auto at = first_after(layer, pack, range.offset); at != layer.in_pack(pack).end(); ++at) {
    const uint64_t begin = index.location(*at).plain_offset;
    const PageRange part = overlap(range, pages_of(begin, index.chunk(*at).length));
    if (part.length == 0) break;
    runs.push_back({*at, static_cast<uint16_t>((part.offset - begin) / kPageBytes),
                    static_cast<uint16_t>(part.length / kPageBytes)});
  }
  return runs;
}

}  // namespace hearth::mount
