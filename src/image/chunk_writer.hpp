// The pipeline of content: chunks come in as they are read, are hashed and compressed by worker threads, and leave in
// the same order for pack objects in the store, several at once on their way. What lies in packs of other layers
// already is referred to instead.
#pragma once

#include "base/digest.hpp"
#include "base/result.hpp"
#include "blob/object_store.hpp"
#include "image/layer_builder.hpp"
#include "image/layer_encoder.hpp"
#include "image/pack_reuse.hpp"
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

/// What became of the content.
struct WriteSummary {
  uint64_t new_bytes = 0;     // of the packs that were written
  uint64_t shared_bytes = 0;  // stored bytes of chunks in packs of other layers
};

/// add() and finish() belong to one thread. Memory: at most kUploads + 1 packs, kMaxWaitingBytes of chunks that wait
/// for a decision, and some 16 MiB of chunks and 2 more a worker, however much goes through. The packs depend only on
/// the chunks, their order and what the catalogue knows, not on the number of workers.
class ChunkWriter {
 public:
  static constexpr unsigned kUploads = 3;  // packs on their way at once
  static constexpr size_t kMaxWaitingBytes = 64 * 1024 * 1024;

  ChunkWriter(std::shared_ptr<blob::ObjectStore> store, StoreScope scope, const BuildOptions& options);
  ~ChunkWriter();  // without finish(): what was not written yet is dropped
  ChunkWriter(const ChunkWriter&) = delete;
  ChunkWriter& operator=(const ChunkWriter&) = delete;

  /// Takes 1..kChunkBytes bytes; the ticket counts from 0. Waits while the pipeline is full. Fails with the pipeline's
  /// first error.
  Result<uint32_t> add(std::string bytes);
  /// Waits until everything is in the store, durably. Once.
  Result<ChunkTable> finish();
  /// After finish().
  const WriteSummary& summary() const { return summary_; }

 private:
  /// Neighbours that a worker takes together, so that small files cost little more than their bytes.
  struct Batch {
    uint64_t number = 0;
    std::vector<std::string> pieces;
    size_t bytes = 0;
  };
  struct Stored {
    std::string bytes;
    ChunkEncoding encoding = ChunkEncoding::raw;
  };
  struct Done {
    Digest digest;
    uint32_t length = 0;
    bool is_there = false;       // in this layer or a pack that it refers to: nothing below is set
    std::vector<Digest> blocks;  // of a chunk that is longer than a block
    Stored stored;
  };
  struct DoneBatch {
    std::vector<Done> chunks;
    size_t bytes = 0;
  };
  struct Outgoing {
    uint32_t number = 0;  // in table_.packs
    std::string bytes;
    uint64_t table_bytes = 0;  // at its end
  };

  void look_for_known_chunks();
  Result<> close_batch();
  Result<> submit_held();
  void work();
  DoneBatch process(Batch batch, void* compressor);
  void compress(std::string bytes, void* compressor, Stored& stored) const;
  void append(std::unique_lock<std::mutex>& lock);
  void append_one(std::unique_lock<std::mutex>& lock, Done done);
  bool reuse(std::unique_lock<std::mutex>& lock, uint32_t number, Stored& stored);
  void refer(uint32_t number, uint32_t known_pack);
  void store(std::unique_lock<std::mutex>& lock, uint32_t number, const Stored& stored);
  void store_waiting(std::unique_lock<std::mutex>& lock);
  bool fits(uint32_t number, const Stored& stored) const;
  void hand_over_pack(std::unique_lock<std::mutex>& lock);
  void upload();
  Result<> upload_one(const Outgoing& pack);
  void set_error(Error error);

  const std::shared_ptr<blob::ObjectStore> store_;
  const StoreScope scope_;
  const BuildOptions options_;
  size_t max_queued_bytes_ = 0;

  // Of the thread that adds.
  Batch open_batch_;
  std::vector<Batch> held_;  // until it is known whether others are asked for their chunks
  uint64_t added_bytes_ = 0;
  uint32_t tickets_ = 0;
  bool has_begun_ = false;  // nothing is held any more

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Batch> jobs_;
  size_t queued_bytes_ = 0;  // plain bytes taken and not appended yet
  uint64_t batches_ = 0;
  bool closing_ = false;
  std::optional<Error> error_;

  std::map<uint64_t, DoneBatch> done_;  // out of order, by number
  uint64_t next_batch_ = 0;             // the one to be appended next
  bool appending_ = false;
  std::unordered_map<Digest, uint32_t> known_;  // chunks of this layer
  ChunkTable table_;
  std::optional<PackReuse> reuse_;                   // set before the first batch, or never
  std::unordered_map<uint32_t, uint32_t> referred_;  // number in the reuse's packs → in table_.packs
  std::unordered_map<uint32_t, Stored> waiting_;     // chunks that are not decided yet
  size_t waiting_bytes_ = 0;
  std::string pack_;                  // being filled
  uint32_t pack_number_ = 0;          // in table_.packs
  PackTableWriter pack_table_;        // of the same pack
  std::optional<Outgoing> outgoing_;  // waiting for an uploader
  unsigned uploading_ = 0;
  bool uploads_end_ = false;
  WriteSummary summary_;

  std::vector<std::thread> workers_;
  std::vector<std::thread> uploaders_;
};

}  // namespace hearth::image
