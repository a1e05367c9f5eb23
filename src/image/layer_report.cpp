#include "image/layer_report.hpp"

#include <unordered_map>
#include <unordered_set>

namespace hearth::image {

double LayerReport::compression_ratio() const {
  return stored_bytes == 0 ? 1.0 : static_cast<double>(unique_bytes) / static_cast<double>(stored_bytes);
}

LayerReport report_layer(const LayerIndex& index) {
  LayerReport report{.digest = index.digest(),
                     .format = index.version(),
                     .index_bytes = index.index_bytes(),
                     .content_bytes = index.content_bytes(),
                     .chunks = index.chunk_count(),
                     .packs = index.pack_count()};
  for (uint32_t number = 0; number < index.inode_count(); ++number) {
    switch (index.inode(number).type) {
      case FileType::regular:
        ++report.files;
        break;
      case FileType::directory:
        ++report.directories;
        break;
      default:
        ++report.others;
    }
  }
  for (uint32_t chunk = 0; chunk < index.chunk_count(); ++chunk) {
    const auto location = index.location(chunk);
    report.unique_bytes += index.chunk(chunk).length;
    report.stored_bytes += location.stored_length;
    if (location.encoding != ChunkEncoding::raw) ++report.compressed_chunks;
  }
  return report;
}

struct SharingSurvey::State {
  explicit State(const LayerIndex& layer) : index(layer) {
    chunks.reserve(index.chunk_count());
    for (uint32_t chunk = 0; chunk < index.chunk_count(); ++chunk) chunks.emplace(index.chunk(chunk).digest, chunk);
  }

  bool is_same_place(uint32_t chunk, const LayerIndex& other, uint32_t theirs) const {
    const auto mine = index.location(chunk);
    const auto their = other.location(theirs);
    return mine.offset == their.offset && index.pack(mine.pack).digest == other.pack(their.pack).digest;
  }

  void add(SharedContent& to, uint32_t chunk) const {
    ++to.chunks;
    to.unique_bytes += index.chunk(chunk).length;
    to.stored_bytes += index.location(chunk).stored_length;
  }

  const LayerIndex& index;
  std::unordered_map<Digest, uint32_t> chunks;
  std::unordered_set<uint32_t> shared;      // with any
  std::unordered_set<uint32_t> same_place;  // with any
};

SharingSurvey::SharingSurvey(const LayerIndex& layer) : state_(std::make_unique<State>(layer)) {}
SharingSurvey::~SharingSurvey() = default;

SharedContent SharingSurvey::compare(const LayerIndex& other) {
  SharedContent shared;
  for (uint32_t theirs = 0; theirs < other.chunk_count(); ++theirs) {
    const auto mine = state_->chunks.find(other.chunk(theirs).digest);
    if (mine == state_->chunks.end()) continue;
    state_->add(shared, mine->second);
    state_->shared.insert(mine->second);
    if (!state_->is_same_place(mine->second, other, theirs)) continue;
    shared.same_place_bytes += state_->index.location(mine->second).stored_length;
    state_->same_place.insert(mine->second);
  }
  return shared;
}

SharedContent SharingSurvey::with_any() const {
  SharedContent shared;
  for (const uint32_t chunk : state_->shared) state_->add(shared, chunk);
  for (const uint32_t chunk : state_->same_place) {
    shared.same_place_bytes += state_->index.location(chunk).stored_length;
  }
  return shared;
}

}  // namespace hearth::image
