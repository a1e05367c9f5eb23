#include "image/layer_reader.hpp"

#include "image/stored_chunk.hpp"

#include <algorithm>
#include <numeric>

namespace hearth::image {

namespace {

/// Neighbours are fetched together up to this size, gaps up to that one are read over.
constexpr uint64_t kMaxReadBytes = 8 * 1024 * 1024;
constexpr uint64_t kMaxGapBytes = 64 * 1024;

}  // namespace

Result<LayerReader> LayerReader::open(std::shared_ptr<blob::ObjectStore> store, std::string_view workspace,
                                      const Digest& digest) {
  for (const StoreScope& scope : StoreScope::lookup_order(workspace)) {
    auto bytes = store->get(scope.layer_key(digest));
    if (!bytes && bytes.error().code == ErrorCode::not_found) continue;
    if (!bytes) return fail_with_context("layer " + digest.to_string(), std::move(bytes).error());
    auto index = LayerIndex::decode(std::move(*bytes));
    if (!index) return fail_with_context("layer " + digest.to_string(), std::move(index).error());
    if (index->digest() != digest) {
      return fail(ErrorCode::corrupt, "layer " + digest.to_string() + ": its index has another digest");
    }
    return LayerReader(std::move(store), std::string(workspace), std::make_shared<const LayerIndex>(std::move(*index)));
  }
  return fail(ErrorCode::not_found, "no layer " + digest.to_string() + " in workspace " + std::string(workspace));
}

Result<std::string> LayerReader::read_pack(uint32_t pack, uint64_t offset, uint64_t length) const {
  const Digest digest = index_->pack(pack).digest;
  for (const StoreScope& scope : StoreScope::lookup_order(workspace_)) {
    auto bytes = store_->get_range(scope.pack_key(digest), offset, length);
    if (bytes || bytes.error().code != ErrorCode::not_found) return bytes;
  }
  return fail(ErrorCode::corrupt,
              "layer " + index_->digest().to_string() + ": its pack " + digest.hex() + " is missing");
}

Result<std::string> LayerReader::decode_chunk(uint32_t chunk, std::string_view stored) const {
  auto bytes = decode_stored_chunk(index_->chunk(chunk), index_->location(chunk).encoding, stored);
  if (bytes) return bytes;
  return fail_with_context("layer " + index_->digest().to_string() + ": chunk " + std::to_string(chunk), bytes.error());
}

Result<std::string> LayerReader::read_chunk(uint32_t chunk) const {
  const ChunkLocation place = index_->location(chunk);
  TRY(const std::string stored, read_pack(place.pack, place.offset, place.stored_length));
  return decode_chunk(chunk, stored);
}

Result<> LayerReader::read_chunks(std::span<const uint32_t> chunks, const ChunkSink& sink) const {
  std::vector<uint32_t> order(chunks.begin(), chunks.end());
  std::ranges::sort(order, [this](uint32_t a, uint32_t b) {
    const ChunkLocation left = index_->location(a);
    const ChunkLocation right = index_->location(b);
    return std::tie(left.pack, left.offset, a) < std::tie(right.pack, right.offset, b);
  });
  order.erase(std::ranges::unique(order).begin(), order.end());
  for (size_t first = 0; first < order.size();) {
    const ChunkLocation begin = index_->location(order[first]);
    uint64_t end = begin.offset + begin.stored_length;
    size_t last = first + 1;
    for (; last < order.size(); ++last) {
      const ChunkLocation next = index_->location(order[last]);
      const uint64_t next_end = std::max(end, next.offset + next.stored_length);
      const bool near = next.pack == begin.pack && (next.offset <= end || next.offset - end <= kMaxGapBytes);
      if (!near || next_end - begin.offset > kMaxReadBytes) break;
      end = next_end;
    }
    TRY(const std::string bytes, read_pack(begin.pack, begin.offset, end - begin.offset));
    for (; first < last; ++first) {
      const ChunkLocation place = index_->location(order[first]);
      TRY(const std::string plain,
          decode_chunk(order[first], std::string_view(bytes).substr(place.offset - begin.offset, place.stored_length)));
      TRY_VOID(sink(order[first], plain));
    }
  }
  return {};
}

Result<std::string> LayerReader::read_file(const InodeView& file, uint64_t limit_bytes) const {
  if (file.type != FileType::regular) return fail(ErrorCode::invalid_argument, "not a regular file");
  if (file.size > limit_bytes) {
    return fail(ErrorCode::exhausted, "a file of " + std::to_string(file.size) + " bytes is over the limit");
  }
  std::string content(static_cast<size_t>(file.size), '\0');
  for (uint32_t i = 0; i < file.count; ++i) {
    const Extent extent = index_->extent(file, i);
    TRY(const std::string bytes, read_chunk(extent.chunk));
    content.replace(static_cast<size_t>(extent.offset), bytes.size(), bytes);
  }
  return content;
}

}  // namespace hearth::image
