// What the fetcher does next: chunks that wait to be fetched, by precedence, and which of them are read together. Pure:
// no clock, thread or I/O.
#pragma once

#include <array>
#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <utility>
#include <vector>

namespace hearth::mount {

/// In order of precedence: a reader waits; a reader is about to come; somebody thinks that one may.
enum class FetchClass : uint8_t { demand, ahead, prefetch };
inline constexpr size_t kFetchClasses = 3;

/// Neighbours are read with one request up to this size, gaps up to that one are read over.
inline constexpr uint64_t kRunBytesMax = uint64_t{8} << 20;
inline constexpr uint64_t kRunGapBytesMax = uint64_t{64} << 10;
/// Demand is split over idle workers, but not into smaller requests than this.
inline constexpr uint64_t kDemandRunBytesMin = uint64_t{1} << 20;
/// What nobody waits for goes in shorter runs: after each the worker looks for demand.
inline constexpr uint64_t kBackgroundRunBytes = uint64_t{4} << 20;

/// A chunk in the queue; whoever queues it owns it.
struct QueuedChunk {
  uint64_t pack_id = 0;
  uint64_t stored_offset = 0;
  uint32_t stored_length = 0;
  FetchClass precedence = FetchClass::demand;

 private:
  friend class FetchQueue;
  std::list<QueuedChunk*>::iterator at_;
};

/// Not thread-safe. First come, first served within a class. No two chunks in it begin at the same place of a pack.
class FetchQueue {
 public:
  void add(QueuedChunk& chunk);
  void remove(QueuedChunk& chunk);
  /// Moves a queued chunk up; to the end of its new class.
  void promote(QueuedChunk& chunk, FetchClass to);

  bool empty(FetchClass precedence) const { return line(precedence).empty(); }
  uint64_t bytes(FetchClass precedence) const { return bytes_[static_cast<size_t>(precedence)]; }

  /// Takes the first chunk of the class, and its queued neighbours of the same class on both sides, as long as they fit
  /// into one range of `run_bytes`. In the order of the pack; empty when there is none.
  std::vector<QueuedChunk*> take(FetchClass precedence, uint64_t run_bytes);

 private:
  const std::list<QueuedChunk*>& line(FetchClass precedence) const { return lines_[static_cast<size_t>(precedence)]; }

  std::array<std::list<QueuedChunk*>, kFetchClasses> lines_;
  std::array<uint64_t, kFetchClasses> bytes_{};
  std::map<std::pair<uint64_t, uint64_t>, QueuedChunk*> by_place_;
};

/// What is going on when a worker is free.
struct FetchLoad {
  int workers = 1;
  int running = 0;             // workers at work
  int running_background = 0;  // of these, on what is not demand
  uint64_t in_flight_bytes = 0;
  uint64_t in_flight_max = 0;
};

struct NextRun {
  FetchClass precedence = FetchClass::demand;
  uint64_t bytes = 0;  // at most
  bool operator==(const NextRun&) const = default;
};

/// Which class a free worker takes from, and how much at once; nullopt: nothing now. Demand first, always, up to all
/// workers and bytes. The others share three quarters of the workers (read-ahead) or half (prefetch), a quarter while
/// demand is being served, and half of the bytes.
std::optional<NextRun> next_run(const FetchQueue& queue, const FetchLoad& load);

}  // namespace hearth::mount
