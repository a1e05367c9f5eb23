// What a layer weighs: its files, what compression and equal content save, and what it has in common with other layers.
#pragma once

#include "base/digest.hpp"
#include "image/layer_index.hpp"

#include <cstdint>
#include <memory>

namespace hearth::image {

struct LayerReport {
  Digest digest;
  uint32_t format = 0;  // version of the index
  uint64_t index_bytes = 0;
  uint64_t files = 0;  // regular ones; hard links count once
  uint64_t directories = 0;
  uint64_t others = 0;         // symlinks, devices, …
  uint64_t content_bytes = 0;  // plain bytes of all files, holes not counted
  uint64_t unique_bytes = 0;   // of these, what remains when equal chunks count once
  uint64_t stored_bytes = 0;   // the same as it lies in packs
  uint64_t chunks = 0;
  uint64_t compressed_chunks = 0;
  uint64_t packs = 0;

  /// Plain bytes over stored bytes of the chunks; 1 without content.
  double compression_ratio() const;
};

/// Pure; walks the whole index.
LayerReport report_layer(const LayerIndex& index);

/// Content that two layers have in common, each chunk once.
struct SharedContent {
  uint64_t chunks = 0;
  uint64_t unique_bytes = 0;
  uint64_t stored_bytes = 0;      // as the first one has it
  uint64_t same_place_bytes = 0;  // of these, stored bytes that are the same range of the same pack: stored, fetched
                                  // and cached once
};

/// Compares one layer with others. Memory: 100 bytes a chunk.
class SharingSurvey {
 public:
  explicit SharingSurvey(const LayerIndex& layer);
  ~SharingSurvey();
  SharingSurvey(const SharingSurvey&) = delete;
  SharingSurvey& operator=(const SharingSurvey&) = delete;

  SharedContent compare(const LayerIndex& other);
  /// With any of those that were compared.
  SharedContent with_any() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace hearth::image
