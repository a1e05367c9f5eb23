// What one start reads of one layer, page by page, in order: the raw material of its profile.
#pragma once

#include "base/clock.hpp"
#include "base/digest.hpp"
#include "image/page_run.hpp"
#include "image/start_history.hpp"
#include "mount/layer_chunks.hpp"
#include "mount/page_range.hpp"

#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>

namespace hearth::mount {

/// A start is recorded until the client says that it is over, or so long.
inline constexpr Duration kRecordFor = seconds(120);

struct StartRecording {
  image::PageRuns asked;  // in the order of first access, no page twice
  uint64_t demand_waits = 0;
  uint64_t waited_ms = 0;
};

/// Thread-safe. Only for a layer that was mounted for this very start: what the kernel has in its page cache from an
/// earlier one is read without anybody being asked, and would be forgotten.
class Recorder {
 public:
  explicit Recorder(std::shared_ptr<const LayerChunks> layer);

  /// A read of the pack's plain space, whether it had to wait or not. Packs of other layers are ignored, as is all
  /// beyond image::kMaxRecordedBytes.
  void asked(const Digest& pack, const PageRange& range);
  /// A read had to wait for the network.
  void waited(Duration wait);

  StartRecording recording() const;

 private:
  const std::shared_ptr<const LayerChunks> layer_;
  std::unordered_map<Digest, uint32_t> packs_;  // → number in the layer
  mutable std::mutex mutex_;
  image::PageSet seen_;
  StartRecording recording_;
  Duration waited_{};
};

}  // namespace hearth::mount
