#include "mount/pack_chunks.hpp"

#include <algorithm>
#include <string>

namespace hearth::mount {

uint64_t PackChunks::plain_offset(const Ref& ref) const {
  return layers_[ref.slot].layer->index().location(ref.chunk).plain_offset;
}

PageRange PackChunks::pages(const Ref& ref) const {
  const auto& index = layers_[ref.slot].layer->index();
  return pages_of(index.location(ref.chunk).plain_offset, index.chunk(ref.chunk).length);
}

PackChunks::Place PackChunks::place(const Ref& ref) const {
  const auto& index = layers_[ref.slot].layer->index();
  return {index.location(ref.chunk), index.chunk(ref.chunk)};
}

bool PackChunks::Place::agrees_with(const Place& other) const {
  return at.plain_offset == other.at.plain_offset && at.offset == other.at.offset &&
         at.stored_length == other.at.stored_length && at.encoding == other.at.encoding &&
         chunk.length == other.chunk.length && chunk.digest == other.chunk.digest;
}

PackChunk PackChunks::chunk(const Ref& ref) const {
  return pack_chunk(layers_[ref.slot].layer, ref.chunk);
}

size_t PackChunks::first_ending_after(uint64_t offset) const {
  const auto found = std::ranges::partition_point(refs_, [&](const Ref& ref) { return pages(ref).end() <= offset; });
  return static_cast<size_t>(found - refs_.begin());
}

size_t PackChunks::layer_count() const {
  return static_cast<size_t>(std::ranges::count_if(layers_, [](const Registered& r) { return r.layer != nullptr; }));
}

Unexpected PackChunks::contradiction(const Ref& a, const Ref& b) const {
  const auto& one = layers_[a.slot].layer->index();
  const auto& other = layers_[b.slot].layer->index();
  return fail(ErrorCode::corrupt, "layers " + one.digest().to_string() + " and " + other.digest().to_string() +
                                      " contradict each other about pack " +
                                      one.pack(layers_[a.slot].pack).digest.hex());
}

/// refs_ and what that layer says, sorted.
Result<std::vector<PackChunks::Ref>> PackChunks::merged_with(uint32_t slot) const {
  std::vector<Ref> result;
  const auto added = layers_[slot].layer->in_pack(layers_[slot].pack);
  result.reserve(refs_.size() + added.size());
  const auto append = [&](const Ref& next) -> Result<> {
    // Of one layer's chunks the index was validated: in order, without overlap.
    if (result.empty() || result.back().slot == next.slot) {
      result.push_back(next);
      return {};
    }
    const Place before = place(result.back());
    const Place after = place(next);
    if (before.at.plain_offset == after.at.plain_offset) {
      if (!before.agrees_with(after)) return contradiction(result.back(), next);
      return {};
    }
    if (before.plain_end() > after.at.plain_offset || before.stored_end() > after.at.offset) {
      return contradiction(result.back(), next);
    }
    result.push_back(next);
    return {};
  };
  size_t at = 0;
  for (const uint32_t number : added) {
    const Ref ref{slot, number};
    const uint64_t offset = plain_offset(ref);
    for (; at < refs_.size() && plain_offset(refs_[at]) <= offset; ++at) TRY_VOID(append(refs_[at]));
    TRY_VOID(append(ref));
  }
  for (; at < refs_.size(); ++at) TRY_VOID(append(refs_[at]));
  return result;
}

Result<> PackChunks::add(std::shared_ptr<const LayerChunks> layer, uint32_t pack) {
  for (Registered& known : layers_) {
    if (known.layer != layer || known.pack != pack) continue;
    ++known.times;
    return {};
  }
  auto free = std::ranges::find_if(layers_, [](const Registered& r) { return r.layer == nullptr; });
  if (free == layers_.end()) free = layers_.emplace(layers_.end());
  *free = {std::move(layer), pack, 1};
  auto merged = merged_with(static_cast<uint32_t>(free - layers_.begin()));
  if (!merged) {
    *free = {};
    return Unexpected(std::move(merged).error());
  }
  refs_ = std::move(*merged);
  return {};
}

void PackChunks::remove(const LayerChunks& layer) {
  const auto known = std::ranges::find_if(layers_, [&](const Registered& r) { return r.layer.get() == &layer; });
  if (known == layers_.end() || --known->times > 0) return;
  *known = {};
  // Another layer may speak of the same chunks: all tables once more.
  refs_.clear();
  for (uint32_t slot = 0; slot < layers_.size(); ++slot) {
    if (!layers_[slot].layer) continue;
    auto merged = merged_with(slot);
    CHECK_PROMISE(merged.has_value());  // they did not contradict each other before
    refs_ = std::move(*merged);
  }
}

std::vector<PackChunk> PackChunks::overlapping(const PageRange& range) const {
  std::vector<PackChunk> result;
  for (size_t i = first_ending_after(range.offset); i < refs_.size(); ++i) {
    if (plain_offset(refs_[i]) >= range.end()) break;
    result.push_back(chunk(refs_[i]));
  }
  return result;
}

bool PackChunks::covers(const PageRange& range) const {
  uint64_t covered = range.offset;
  for_each_overlap(range, [&covered](const PageRange& pages) {
    if (pages.offset == covered) covered = pages.end();
  });
  return covered >= range.end();
}

std::vector<image::StoreScope> PackChunks::scopes() const {
  std::vector<image::StoreScope> result;
  const auto shared = image::StoreScope::shared();
  for (const Registered& known : layers_) {
    if (!known.layer) continue;
    for (const auto& scope : image::StoreScope::lookup_order(known.layer->workspace())) {
      if (scope != shared && std::ranges::find(result, scope) == result.end()) result.push_back(scope);
    }
  }
  if (layer_count() > 0) result.push_back(shared);
  return result;
}

}  // namespace hearth::mount
