// Brings what mounted layers still lack while nobody waits for anything: a complete layer costs nothing, and needs
// neither imagefs nor the store any more.
#pragma once

#include "base/clock.hpp"
#include "mount/disk_cache.hpp"
#include "mount/fetcher.hpp"
#include "mount/pack_file.hpp"
#include "mount/worker_threads.hpp"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>

namespace hearth::mount {

struct CompletionOptions {
  Duration quiet = seconds(10);                // it begins, and goes on, when no reader had to wait for so long
  Duration pause_after_failure = seconds(30);  // the store is away
  uint64_t piece_bytes = uint64_t{4} << 20;    // plain bytes asked for at once: a reader waits for no more of it
};

/// One thread. Works on the packs that are in use, which are those of mounted layers, one piece after another, as
/// prefetch: within its rate, behind every demand, and only while the disks have room for what nobody reads. It rests
/// as long as each piece took.
class BackgroundCompletion {
 public:
  /// Both are borrowed and outlive it.
  BackgroundCompletion(DiskCache& cache, Fetcher& fetcher, CompletionOptions options)
      : cache_(cache), fetcher_(fetcher), options_(options) {}
  ~BackgroundCompletion();
  BackgroundCompletion(const BackgroundCompletion&) = delete;
  BackgroundCompletion& operator=(const BackgroundCompletion&) = delete;

  void start();
  /// A layer was mounted and is about to be read: it is quiet only options.quiet from now.
  void expect_readers() { expected_at_.store(mono_now(), std::memory_order_relaxed); }
  /// Stop the fetcher first: that ends a wait for bytes.
  void stop();

 private:
  enum class Piece { none, brought, failed };

  void run();
  Piece bring_next();
  bool quiet() const;
  bool pause(Duration duration);

  DiskCache& cache_;
  Fetcher& fetcher_;
  const CompletionOptions options_;
  std::atomic<MonoTime> expected_at_{MonoTime{}};
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  WorkerThreads thread_;
};

}  // namespace hearth::mount
