#include "image/layer_writer.hpp"

#include "image/packed_index.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace hearth::image {

namespace {

/// The whole pages around stored runs, those that meet joined; the last one may end with the file.
std::vector<oci::DataSegment> widen_to_pages(std::span<const oci::DataSegment> segments, uint64_t size) {
  std::vector<oci::DataSegment> runs;
  for (const oci::DataSegment& segment : segments) {
    const uint64_t begin = segment.offset / kPageBytes * kPageBytes;
    const uint64_t end = std::min(round_up_to_page(segment.offset + segment.length), size);
    if (!runs.empty() && begin <= runs.back().offset + runs.back().length) {
      runs.back().length = end - runs.back().offset;
    } else {
      runs.push_back({begin, end - begin});
    }
  }
  return runs;
}

/// Gives pieces of a file in ascending order: its stored runs as they are read, zeros between them.
class PieceReader {
 public:
  PieceReader(std::span<const oci::DataSegment> segments, const LayerWriter::ReadContent& read)
      : segments_(segments), read_(read) {}

  Result<std::string> read(uint64_t offset, size_t length) {
    std::string bytes;
    Result<> filled;
    bytes.resize_and_overwrite(length, [this, offset, length, &filled](char* buffer, size_t) {
      filled = fill(offset, buffer, length);
      return filled ? length : size_t{0};
    });
    if (!filled) return Unexpected(std::move(filled).error());
    return bytes;
  }

 private:
  Result<> fill(uint64_t offset, char* to, size_t length) {
    const uint64_t end = offset + length;
    for (uint64_t at = offset; at < end;) {
      while (!segments_.empty() && segments_.front().offset + segments_.front().length <= at)
        segments_ = segments_.subspan(1);
      const uint64_t begin = segments_.empty() ? end : std::min(end, segments_.front().offset);
      if (at < begin) {
        std::memset(to + (at - offset), 0, begin - at);
        at = begin;
        continue;
      }
      const uint64_t stop = std::min(end, segments_.front().offset + segments_.front().length);
      TRY(const size_t got, read_(at, to + (at - offset), stop - at));
      if (got == 0) return fail(ErrorCode::corrupt, "a file became shorter while it was read");
      at += got;
    }
    return {};
  }

  std::span<const oci::DataSegment> segments_;  // what was not read yet
  const LayerWriter::ReadContent& read_;
};

}  // namespace

Result<StoredContent> LayerWriter::store_content(std::span<const oci::DataSegment> segments, uint64_t size,
                                                 const ReadContent& read) {
  StoredContent content;
  PieceReader pieces(segments, read);
  for (const oci::DataSegment& run : widen_to_pages(segments, size)) {
    const uint64_t end = run.offset + run.length;
    for (uint64_t offset = run.offset; offset < end;) {
      if (options_.stop.stop_requested()) return fail(ErrorCode::cancelled, "cancelled while content was read");
      const auto length = static_cast<size_t>(std::min<uint64_t>(kChunkBytes - offset % kChunkBytes, end - offset));
      TRY(std::string bytes, pieces.read(offset, length));
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
  layer.bytes = pack_index(layer.bytes);
  if (options_.stop.stop_requested()) return fail(ErrorCode::cancelled, "cancelled before the layer was complete");
  LayerSummary summary{.digest = layer.digest, .index_bytes = layer.bytes.size()};
  const std::string key = scope_.layer_key(layer.digest);
  TRY(const blob::Created created,
      options_.intent ? options_.intent->create(key, layer.bytes) : store_->create(key, layer.bytes));
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
  summary.new_bytes = chunks_.summary().new_bytes;
  summary.shared_bytes = chunks_.summary().shared_bytes;
  summary.stale_pyc = tree_.count_stale_pyc();
  return summary;
}

}  // namespace hearth::image
