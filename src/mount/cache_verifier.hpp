// Looks at what is on the disks while nobody asks: after a boot at all that was there, and again and again for rot.
#pragma once

#include "base/clock.hpp"
#include "base/metrics.hpp"
#include "mount/disk_cache.hpp"
#include "mount/fetcher.hpp"
#include "mount/pack_file.hpp"
#include "mount/worker_threads.hpp"

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <stop_token>
#include <vector>

namespace hearth::mount {

struct VerifierOptions {
  uint64_t scrub_bytes_per_second = 20'000'000;   // 0: nothing is scrubbed
  Duration scrub_every = std::chrono::hours(24);  // a pack, as long as it is in use
  Duration sync_every = seconds(60);              // a disk that fails to write back is noticed this soon
  MetricRegistry* metrics = nullptr;              // borrowed; null: none
  /// A page of a pack that was complete is wrong on disk. Its bits are cleared before this is called, and it is fetched
  /// again after; meanwhile readers of a pack that is no longer marked may see it.
  std::function<void(const std::shared_ptr<PackFile>&, const PageRange&)> on_rot;
  /// Right bytes are in the file again.
  std::function<void(const std::shared_ptr<PackFile>&, const PageRange&)> on_mended;
};

/// One thread of low priority for the processor and the disks; it stands aside while readers wait, for a
/// while. Works on the packs
/// that are in use: of others nobody knows the digests.
class CacheVerifier {
 public:
  /// Both are borrowed and outlive it.
  CacheVerifier(DiskCache& cache, Fetcher& fetcher, VerifierOptions options);
  ~CacheVerifier();
  CacheVerifier(const CacheVerifier&) = delete;
  CacheVerifier& operator=(const CacheVerifier&) = delete;

  /// Starts the thread. Packs that come into use are found within kLookEvery, or at once with look_now().
  void start();
  void look_now();
  /// Stop the fetcher first: that ends a wait for bytes.
  void stop();

  static constexpr Duration kLookEvery = seconds(2);

  /// One pass over a pack in this thread. Verifies its candidates; chunks that were on disk and turn out wrong are
  /// fetched again.
  void verify_candidates(const std::shared_ptr<PackFile>& pack);
  /// Reads every present block from the disk itself, at the rate, and compares. What is wrong is cleared, counted, and
  /// written again with fetched bytes. Returns the number of wrong blocks.
  size_t scrub(const std::shared_ptr<PackFile>& pack);

 private:
  struct Seen {
    std::weak_ptr<PackFile> pack;
    uint64_t revision = 0;  // of its chunks and doubts, when its candidates were verified
    MonoTime scrubbed;
  };
  struct Wrong {
    std::weak_ptr<PackFile> pack;
    PageRange range;
  };

  void run();
  void look_at(const std::vector<std::shared_ptr<PackFile>>& packs);
  void sync(const std::vector<std::shared_ptr<PackFile>>& packs);
  std::shared_ptr<PackFile> due_for_scrub(const std::vector<std::shared_ptr<PackFile>>& packs);
  bool block_is_right(const PackFile& pack, const PackChunk& chunk, uint32_t block, char* buffer) const;
  bool mend(const std::shared_ptr<PackFile>& pack, const PageRange& range, Duration patience);
  void mend_what_is_left();
  void stand_aside();
  void pause(Duration duration);

  DiskCache& cache_;
  Fetcher& fetcher_;
  const VerifierOptions options_;
  Counter* scrubbed_bytes_ = nullptr;
  Counter* rot_ = nullptr;
  Counter* mended_ = nullptr;

  std::map<const PackFile*, Seen> seen_;  // of the thread
  std::vector<Wrong> wrong_;              // could not be fetched yet
  MonoTime synced_;

  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  bool look_ = false;
  WorkerThreads thread_;
};

}  // namespace hearth::mount
