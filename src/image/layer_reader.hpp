// Reads a layer back: its index, and its content chunk by chunk, each verified against its SHA-256 before anyone sees
// it.
#pragma once

#include "base/digest.hpp"
#include "base/result.hpp"
#include "blob/object_store.hpp"
#include "image/layer_index.hpp"
#include "image/store_scope.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::image {

/// Thread-safe: any number of threads may read at once. Blocking calls.
class LayerReader {
 public:
  /// Looks in ws/<workspace>/layers, then shared/layers; checks that the index has this digest.
  /// not_found when neither has it; corrupt when its bytes are wrong; unavailable when the store is.
  static Result<LayerReader> open(std::shared_ptr<blob::ObjectStore> store, std::string_view workspace,
                                  const Digest& digest);

  const LayerIndex& index() const { return *index_; }
  std::shared_ptr<const LayerIndex> shared_index() const { return index_; }

  /// The plain bytes of a chunk, verified. corrupt when stored bytes do not match.
  Result<std::string> read_chunk(uint32_t chunk) const;

  /// Calls `sink(chunk, bytes)` for each chunk, in the order they lie in the packs, fetching neighbours with one range
  /// read. Stops at the first error, the sink's included. Duplicates in `chunks` are delivered once.
  using ChunkSink = std::function<Result<>(uint32_t chunk, std::string_view bytes)>;
  Result<> read_chunks(std::span<const uint32_t> chunks, const ChunkSink& sink) const;

  /// A whole file with its holes as zeros; exhausted when it is larger than `limit_bytes`. For small files and tests.
  Result<std::string> read_file(const InodeView& file, uint64_t limit_bytes) const;

 private:
  LayerReader(std::shared_ptr<blob::ObjectStore> store, std::string workspace, std::shared_ptr<const LayerIndex> index)
      : store_(std::move(store)), workspace_(std::move(workspace)), index_(std::move(index)) {}
  Result<std::string> read_pack(uint32_t pack, uint64_t offset, uint64_t length) const;
  Result<std::string> decode_chunk(uint32_t chunk, std::string_view stored) const;

  std::shared_ptr<blob::ObjectStore> store_;
  std::string workspace_;
  std::shared_ptr<const LayerIndex> index_;
};

}  // namespace hearth::image
