// From stored bytes to verified plain ones, on as many cores as there are.
#pragma once

#include "base/result.hpp"
#include "mount/layer_chunks.hpp"
#include "mount/worker_threads.hpp"

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::mount {

/// Not thread-safe: one a thread. Memory: one chunk and zstd's context.
class ChunkDecoder {
 public:
  ChunkDecoder();
  ~ChunkDecoder();
  ChunkDecoder(const ChunkDecoder&) = delete;
  ChunkDecoder& operator=(const ChunkDecoder&) = delete;

  /// The plain bytes of a chunk, verified by its SHA-256; valid until the next call, and as long as `stored`. corrupt
  /// when they do not match.
  Result<std::string_view> decode(const PackChunk& chunk, std::string_view stored);
  /// The same of bytes that came unpacked.
  static Result<std::string_view> verify(const PackChunk& chunk, std::string_view plain);

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

/// Thread-safe. At most `at_once` decoders are at work, and exist, whoever calls.
class DecodeCrew {
 public:
  explicit DecodeCrew(unsigned at_once);
  ~DecodeCrew();
  DecodeCrew(const DecodeCrew&) = delete;
  DecodeCrew& operator=(const DecodeCrew&) = delete;

  using Work = std::function<void(size_t i, ChunkDecoder& decoder)>;
  /// work(0) … work(count - 1), in this thread and in others that are free, in any order; returns when all are done.
  void for_each(size_t count, const Work& work);

 private:
  struct Batch {
    const Work& work;
    size_t count;
    size_t next = 0;
    size_t done = 0;
  };
  void assist();
  bool work_on(Batch& batch, std::unique_lock<std::mutex>& lock);

  std::mutex mutex_;
  std::condition_variable batch_came_;    // for assistants
  std::condition_variable decoder_free_;  // for all who have a piece and nothing to do it with
  std::condition_variable batch_done_;    // for those whose last pieces others do
  std::list<Batch*> batches_;             // with work that nobody has taken
  std::vector<std::unique_ptr<ChunkDecoder>> idle_;
  unsigned unmade_;  // decoders that may still be made
  bool ending_ = false;
  WorkerThreads assistants_;
};

}  // namespace hearth::mount
