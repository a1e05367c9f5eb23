// What was advised to be fetched and is not here yet, and what is waited for to be looked at. Pure.
#pragma once

#include "mount/layer_chunks.hpp"
#include "mount/neighbours.hpp"
#include "mount/page_range.hpp"

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

namespace hearth::mount {

struct PrefetchLimits {
  uint64_t run_bytes = uint64_t{2} << 20;    // stored bytes of one run
  uint64_t gap_bytes = uint64_t{256} << 10;  // stored bytes between wanted chunks that come along
};

/// Of one layer; not thread-safe. The newest advice comes first, since it is about what is read now: a program goes
/// through what it imports depth first. Memory: what waits, and a byte a chunk.
class PrefetchQueue {
 public:
  explicit PrefetchQueue(std::shared_ptr<const LayerChunks> layer, const PrefetchLimits& limits = {});

  using IsPresent = std::function<bool(uint32_t chunk)>;
  void add(const Neighbours::Advice& advice, const IsPresent& is_present);

  /// Chunks to be fetched together: one range of one pack.
  struct Run {
    uint32_t pack = 0;
    PageRange plain;               // of the pack's plain space
    std::vector<uint32_t> chunks;  // in the order of the pack, those between included
  };
  std::optional<Run> next();
  /// The run is there, or it is not to be had: then nothing that waits for it will be looked at.
  enum class Landed { present, failed };
  void landed(const Run& run, Landed how);
  /// What can be looked at now, each once.
  std::vector<Neighbours::Look> ready();

  bool empty() const { return waiting_.empty(); }

 private:
  enum class State : uint8_t { unknown, waiting, flying, done };
  struct PendingLook {
    Neighbours::Look look;
    size_t missing = 0;
    bool failed = false;
  };

  uint64_t stored_end(uint32_t chunk) const;

  const std::shared_ptr<const LayerChunks> layer_;
  const PrefetchLimits limits_;
  std::vector<State> states_;                                                      // by chunk
  std::deque<uint32_t> waiting_;                                                   // the next one first
  std::unordered_map<uint32_t, std::vector<std::shared_ptr<PendingLook>>> looks_;  // by chunk they wait for
  std::vector<Neighbours::Look> ready_;
};

/// The chunks of a file that hold a range of it.
std::vector<uint32_t> chunks_of_range(const image::LayerIndex& index, uint32_t inode, const FileRange& range);

}  // namespace hearth::mount
