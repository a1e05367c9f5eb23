// Pages that bundles are bringing right now, so that demand reads of them wait a moment instead of fetching them twice.
#pragma once

#include "base/clock.hpp"
#include "base/digest.hpp"
#include "mount/demand_gate.hpp"

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_map>
#include <vector>

namespace hearth::mount {

/// A run of a pack's plain space, and where a bundle's plain stream has passed it. Multiples of the page size.
struct ExpectedRun {
  uint64_t offset = 0;
  uint64_t length = 0;
  uint64_t position = 0;  // bytes of the plain stream up to the end of this run
};

/// How long a demand read waits for a bundle: about as long as a fetch of its own may take beside the stream. Waiting
/// longer costs time, not waiting costs the bytes twice.
struct ExpectedWait {
  Duration longest = milliseconds(150);   // a range that is further away than this is fetched
  Duration patience = milliseconds(300);  // a wait that was begun ends after this, stored or not
};

/// The pages of one bundle on its way, sorted by place. Pure; not thread-safe.
class ExpectedRuns {
 public:
  /// By pack; the runs of one pack in any order. What overlaps is cut to what comes first.
  explicit ExpectedRuns(std::unordered_map<Digest, std::vector<ExpectedRun>> packs);

  /// Position at which the whole range will have passed; nullopt when a part of it is not in the bundle.
  std::optional<uint64_t> position_of(const Digest& pack, uint64_t offset, uint64_t length) const;
  bool contains(const Digest& pack) const { return packs_.contains(pack); }

 private:
  std::unordered_map<Digest, std::vector<ExpectedRun>> packs_;
};

/// When a position of a stream will be reached, from its mean rate since its first bytes came. Pure.
class StreamPace {
 public:
  void reached(uint64_t position, MonoTime now);
  uint64_t position() const { return position_; }
  /// Zero for what has passed; nullopt while too little has come to tell.
  std::optional<Duration> time_to(uint64_t position, MonoTime now) const;

 private:
  struct Point {
    MonoTime at;
    uint64_t position = 0;
  };
  std::optional<Point> first_;
  uint64_t position_ = 0;
};

/// All bundles on their way. One thread of its own for the end of patience, started with the first wait.
class ExpectedPages final : public DemandGate {
 public:
  explicit ExpectedPages(const ExpectedWait& wait = {}) : limits_(wait) {}
  ~ExpectedPages() override = default;
  ExpectedPages(const ExpectedPages&) = delete;
  ExpectedPages& operator=(const ExpectedPages&) = delete;

  /// A bundle that is being streamed, held by who streams it, no longer than this object lives; its end tells all that
  /// still wait for it.
  class Promise {
   public:
    ~Promise();
    Promise(const Promise&) = delete;
    Promise& operator=(const Promise&) = delete;
    /// Everything up to this position of the plain stream is stored.
    void arrived(uint64_t position);

   private:
    friend class ExpectedPages;
    struct Stream;
    Promise(ExpectedPages& all, std::shared_ptr<Stream> stream) : all_(all), stream_(std::move(stream)) {}
    ExpectedPages& all_;
    std::shared_ptr<Stream> stream_;
  };
  std::unique_ptr<Promise> promise(ExpectedRuns runs);

  bool wait(const Digest& pack, uint64_t offset, uint64_t length, Again& again) override;
  bool expects(const Digest& pack) const override;

  /// Reads that waited for a bundle, and of these the ones whose patience ended first.
  struct Counts {
    uint64_t waits = 0;
    uint64_t in_vain = 0;
  };
  Counts counts() const;

 private:
  void watch(const std::stop_token& stop);

  const ExpectedWait limits_;
  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  std::vector<std::shared_ptr<Promise::Stream>> streams_;
  Counts counts_;
  std::jthread watch_;  // last: it ends first
};

}  // namespace hearth::mount
