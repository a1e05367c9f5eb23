// The pipeline of content: chunks come in as they are read, are hashed and compressed by worker threads, and leave in
// the same order for pack objects in the store.
#pragma once

#include "base/digest.hpp"
#include "base/result.hpp"
#include "blob/object_store.hpp"
#include "image/layer_builder.hpp"
#include "image/layer_encoder.hpp"
#include "image/pack_table.hpp"
#include "image/store_scope.hpp"

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

namespace hearth::image {

/// add() and finish() belong to one thread. Memory: at most two packs and some 16 MiB of chunks, however much goes
/// through. The packs depend only on the chunks and their order, not on the number of workers.
class ChunkWriter {
 public:
  ChunkWriter(std::shared_ptr<blob::ObjectStore> store, StoreScope scope, const BuildOptions& options);
  ~ChunkWriter();  // without finish(): what was not written yet is dropped
  ChunkWriter(const ChunkWriter&) = delete;
  ChunkWriter& operator=(const ChunkWriter&) = delete;

  /// Takes 1..kChunkBytes bytes; the ticket counts from 0. Waits while the pipeline is full. Fails with the pipeline's
  /// first error.
  Result<uint32_t> add(std::string bytes);
  /// Waits until everything is in the store, durably. Once.
  Result<ChunkTable> finish();

 private:
  struct Job {
    uint32_t ticket = 0;
    std::string bytes;
  };
  struct Done {
    Digest digest;
    uint32_t length = 0;
    std::vector<Digest> blocks;  // of a chunk that is longer than a block
    std::string stored;          // empty: the chunk is known already
    ChunkEncoding encoding = ChunkEncoding::raw;
  };

  void work();
  Done process(std::string bytes, void* compressor);
  void append(std::unique_lock<std::mutex>& lock);
  bool fits(const Done& done) const;
  void append_one(const Done& done);
  void hand_over_pack(std::unique_lock<std::mutex>& lock);
  void upload();
  void set_error(Error error);

  const std::shared_ptr<blob::ObjectStore> store_;
  const StoreScope scope_;
  const int level_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;
  size_t queued_bytes_ = 0;  // plain bytes taken and not in a pack yet
  uint32_t tickets_ = 0;
  bool closing_ = false;
  std::optional<Error> error_;

  std::map<uint32_t, Done> done_;  // out of order, by ticket
  uint32_t next_ticket_ = 0;       // the one to be appended next
  bool appending_ = false;
  std::unordered_map<Digest, uint32_t> known_;  // chunks that are in a pack
  ChunkTable table_;
  std::string pack_;                     // being filled
  PackTableWriter pack_table_;           // of the same pack
  std::optional<std::string> outgoing_;  // waiting for the uploader
  bool uploading_ = false;
  bool uploads_end_ = false;

  std::vector<std::thread> workers_;
  std::thread uploader_;
};

}  // namespace hearth::image
