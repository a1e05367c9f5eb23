#include "image/layer_writer.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace hearth::image {

Result<std::string> LayerWriter::read_piece(uint64_t offset, size_t length, const ReadContent& read) const {
  std::string bytes;
  std::optional<Error> error;
  bytes.resize_and_overwrite(length, [offset, length, &read, &error](char* buffer, size_t) {
    size_t have = 0;
    while (have < length) {
      auto got = read(offset + have, buffer + have, length - have);
      if (!got) {
        error = std::move(got).error();
        return size_t{0};
      }
      if (*got == 0) return size_t{0};
      have += *got;
    }
    return have;
  });
  if (error) return Unexpected(std::move(*error));
  if (bytes.size() < length) return fail(ErrorCode::corrupt, "a file became shorter while it was read");
  return bytes;
}

Result<StoredContent> LayerWriter::store_content(std::span<const oci::DataSegment> segments, const ReadContent& read) {
  StoredContent content;
  for (const oci::DataSegment& segment : segments) {
    const uint64_t end = segment.offset + segment.length;
    for (uint64_t offset = segment.offset; offset < end;) {
      if (options_.stop.stop_requested()) return fail(ErrorCode::cancelled, "cancelled while content was read");
      const auto length = static_cast<size_t>(std::min<uint64_t>(kChunkBytes - offset % kChunkBytes, end - offset));
      TRY(std::string bytes, read_piece(offset, length, read));
      if (offset == 0) std::memcpy(content.head.data(), bytes.data(), std::min(bytes.size(), content.head.size()));
      TRY(const uint32_t ticket, chunks_.add(std::move(bytes)));
      content.extents.push_back({offset, static_cast<uint32_t>(length), ticket});
      offset += length;
      bytes_read_ += length;
    }
  }
  if (options_.progress) options_.progress(bytes_read_);
  return content;
}

Result<LayerSummary> LayerWriter::finish() {
  TRY(const ChunkTable table, chunks_.finish());
  TRY(EncodedLayer layer, encode_layer(tree_, table));
  if (options_.stop.stop_requested()) return fail(ErrorCode::cancelled, "cancelled before the layer was complete");
  LayerSummary summary{.digest = layer.digest, .index_bytes = layer.bytes.size()};
  const std::string key = scope_.layer_key(layer.digest);
  TRY(const blob::Created created, store_->create(key, layer.bytes));
  // An equal tree was there before, perhaps packed otherwise: then its index counts, and our packs are garbage.
  if (created == blob::Created::no) {
    TRY(layer.bytes, store_->get(key));
    summary.index_bytes = layer.bytes.size();
  }
  TRY(const LayerIndex index, LayerIndex::decode(std::move(layer.bytes)));
  if (index.digest() != summary.digest) return fail(ErrorCode::corrupt, "the layer in the store is damaged: " + key);
  summary.content_bytes = index.content_bytes();
  summary.stored_bytes = index.stored_bytes();
  summary.entries = index.entry_count();
  summary.chunks = index.chunk_count();
  summary.packs = index.pack_count();
  summary.stale_pyc = tree_.count_stale_pyc();
  return summary;
}

}  // namespace hearth::image
