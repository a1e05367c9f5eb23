#include "image/chunk_writer.hpp"

#include "base/log.hpp"

#include <zstd.h>

#include <algorithm>
#include <limits>
#include <new>
#include <utility>

namespace hearth::image {

namespace {

constexpr size_t kMaxQueuedBytes = 16 * 1024 * 1024;
constexpr size_t kQueuedBytesAWorker = 2 * 1024 * 1024;
constexpr size_t kBatchBytes = 256 * 1024;
constexpr size_t kBatchChunks = 64;
constexpr unsigned kMaxWorkers = 64;
/// A smaller layer is stored on its own: looking up what others have costs more than it saves.
constexpr uint64_t kLookAfterBytes = 1024 * 1024;
constexpr uint32_t kNoPack = std::numeric_limits<uint32_t>::max();

/// Compression pays when it saves a twentieth: below that, reading raw bytes is cheaper than decompressing.
constexpr bool pays(size_t compressed, size_t plain) {
  return compressed <= plain - plain / 20 - 1;
}

std::vector<Digest> digest_blocks(std::string_view bytes) {
  std::vector<Digest> blocks;
  if (bytes.size() <= kBlockBytes) return blocks;
  blocks.reserve(blocks_of(bytes.size()));
  for (size_t at = 0; at < bytes.size(); at += kBlockBytes) blocks.push_back(Digest::of(bytes.substr(at, kBlockBytes)));
  return blocks;
}

/// The scopes whose packs a layer of this one may refer to.
std::vector<StoreScope> scopes_for(const StoreScope& scope) {
  if (scope == StoreScope::shared()) return {scope};
  return {scope, StoreScope::shared()};
}

}  // namespace

ChunkWriter::ChunkWriter(std::shared_ptr<blob::ObjectStore> store, StoreScope scope, const BuildOptions& options)
    : store_(std::move(store)), scope_(std::move(scope)), options_(options) {
  const unsigned wanted = options.workers != 0 ? options.workers : std::thread::hardware_concurrency();
  const unsigned workers = std::clamp(wanted, 1u, kMaxWorkers);
  max_queued_bytes_ = kMaxQueuedBytes + workers * kQueuedBytesAWorker;
  for (unsigned i = 0; i < workers; ++i) workers_.emplace_back([this] { work(); });
  for (unsigned i = 0; i < kUploads; ++i) uploaders_.emplace_back([this] { upload(); });
}

ChunkWriter::~ChunkWriter() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    uploads_end_ = true;
    if (!error_) error_ = Error{ErrorCode::cancelled, "given up"};
  }
  changed_.notify_all();
  for (std::thread& worker : workers_) {
    if (worker.joinable()) worker.join();
  }
  for (std::thread& uploader : uploaders_) {
    if (uploader.joinable()) uploader.join();
  }
}

void ChunkWriter::set_error(Error error) {
  if (!error_) error_ = std::move(error);
}

/// What others have is only looked at when it may pay, and a build does not fail for it.
void ChunkWriter::look_for_known_chunks() {
  if (!options_.intent || !options_.catalogue) return;
  const auto may_use = [intent = options_.intent](const std::string& key) { return !intent->is_condemned(key); };
  auto known = options_.catalogue->look(*store_, scopes_for(scope_), may_use);
  if (!known) {
    log_warning("chunks of other layers could not be looked up: what they have is stored again",
                {{"error", known.error().message}});
    return;
  }
  if ((*known)->chunk_count() == 0) return;
  const std::lock_guard lock(mutex_);
  reuse_.emplace(std::move(*known));
}

Result<uint32_t> ChunkWriter::add(std::string bytes) {
  CHECK_PROMISE(!bytes.empty() && bytes.size() <= kChunkBytes);
  if (tickets_ == std::numeric_limits<uint32_t>::max())
    return fail(ErrorCode::exhausted, "too many chunks in one layer");
  added_bytes_ += bytes.size();
  open_batch_.bytes += bytes.size();
  open_batch_.pieces.push_back(std::move(bytes));
  if (open_batch_.bytes >= kBatchBytes || open_batch_.pieces.size() >= kBatchChunks) TRY_VOID(close_batch());
  return tickets_++;
}

/// The first megabyte is held back until it is known whether more comes.
Result<> ChunkWriter::close_batch() {
  if (!open_batch_.pieces.empty()) held_.push_back(std::exchange(open_batch_, {}));
  if (!has_begun_) {
    if (added_bytes_ < kLookAfterBytes) return {};
    look_for_known_chunks();
    has_begun_ = true;
  }
  return submit_held();
}

/// Waits for room in the queue.
Result<> ChunkWriter::submit_held() {
  std::unique_lock lock(mutex_);
  for (Batch& batch : held_) {
    changed_.wait(lock, [this] { return error_ || queued_bytes_ < max_queued_bytes_; });
    if (error_) return Unexpected(*error_);
    queued_bytes_ += batch.bytes;
    batch.number = batches_++;
    jobs_.push_back(std::move(batch));
    changed_.notify_all();
  }
  held_.clear();
  return {};
}

void ChunkWriter::work() {
  const std::unique_ptr<ZSTD_CCtx, size_t (*)(ZSTD_CCtx*)> compressor(::ZSTD_createCCtx(), &::ZSTD_freeCCtx);
  if (!compressor) throw std::bad_alloc();
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return error_ || closing_ || !jobs_.empty(); });
    if (error_ || jobs_.empty()) return;
    Batch batch = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    const uint64_t number = batch.number;
    DoneBatch done = process(std::move(batch), compressor.get());
    lock.lock();
    done_.emplace(number, std::move(done));
    append(lock);
    changed_.notify_all();
  }
}

/// Without the lock, but for a look at what is known: a chunk that is there already need not be compressed.
ChunkWriter::DoneBatch ChunkWriter::process(Batch batch, void* compressor) {
  DoneBatch done{.chunks = std::vector<Done>(batch.pieces.size()), .bytes = batch.bytes};
  std::vector<bool> is_taken(batch.pieces.size());
  for (size_t i = 0; i < batch.pieces.size(); ++i) {
    done.chunks[i].digest = Digest::of(batch.pieces[i]);
    done.chunks[i].length = static_cast<uint32_t>(batch.pieces[i].size());
  }
  {
    const std::lock_guard lock(mutex_);
    for (size_t i = 0; i < batch.pieces.size(); ++i) {
      Done& chunk = done.chunks[i];
      chunk.is_there = known_.contains(chunk.digest);
      is_taken[i] = reuse_ && reuse_->find_open(chunk.digest, chunk.length);
    }
  }
  for (size_t i = 0; i < batch.pieces.size(); ++i) {
    Done& chunk = done.chunks[i];
    if (chunk.is_there) continue;
    chunk.blocks = digest_blocks(batch.pieces[i]);
    if (!is_taken[i]) compress(std::move(batch.pieces[i]), compressor, chunk.stored);
  }
  return done;
}

void ChunkWriter::compress(std::string bytes, void* compressor, Stored& stored) const {
  std::string packed;
  size_t size = 0;
  packed.resize_and_overwrite(bytes.size(), [this, &bytes, &size, compressor](char* buffer, size_t capacity) {
    size = ::ZSTD_compressCCtx(static_cast<ZSTD_CCtx*>(compressor), buffer, capacity, bytes.data(), bytes.size(),
                               options_.compression_level);
    return ::ZSTD_isError(size) != 0 ? size_t{0} : size;  // does not fit: it is no smaller than the plain bytes
  });
  if (!packed.empty() && pays(packed.size(), bytes.size())) {
    stored.bytes = std::move(packed);
    stored.encoding = ChunkEncoding::zstd;
  } else {
    stored.bytes = std::move(bytes);
  }
}

/// Whoever finishes the next batch in order appends it, and all that waited for it.
void ChunkWriter::append(std::unique_lock<std::mutex>& lock) {
  if (appending_) return;  // that thread looks again before it stops
  appending_ = true;
  while (!error_ && !done_.empty() && done_.begin()->first == next_batch_) {
    DoneBatch batch = std::move(done_.begin()->second);
    done_.erase(done_.begin());
    for (Done& chunk : batch.chunks) {
      append_one(lock, std::move(chunk));
      if (error_) break;
    }
    queued_bytes_ -= batch.bytes;
    ++next_batch_;
    changed_.notify_all();
  }
  appending_ = false;
}

void ChunkWriter::append_one(std::unique_lock<std::mutex>& lock, Done done) {
  if (const auto found = known_.find(done.digest); found != known_.end()) {
    table_.of_ticket.push_back(found->second);
    return;
  }
  CHECK_PROMISE(!done.is_there);
  const auto number = static_cast<uint32_t>(table_.chunks.size());
  known_.emplace(done.digest, number);
  table_.of_ticket.push_back(number);
  table_.chunks.push_back({done.digest, done.length});
  table_.blocks.insert(table_.blocks.end(), done.blocks.begin(), done.blocks.end());
  table_.locations.push_back({.pack = kNoPack});
  if (reuse_ && reuse(lock, number, done.stored)) return;
  store(lock, number, done.stored);
}

/// False when the chunk must be stored now.
bool ChunkWriter::reuse(std::unique_lock<std::mutex>& lock, uint32_t number, Stored& stored) {
  const ChunkInfo& chunk = table_.chunks[number];
  const PackReuse::Answer answer = reuse_->ask(number, chunk.digest, chunk.length);
  switch (answer.verdict) {
    case PackReuse::Verdict::store:
      return false;
    case PackReuse::Verdict::take:
      for (const uint32_t waited : answer.waited) {
        refer(waited, answer.place.pack);
        waiting_bytes_ -= waiting_.extract(waited).mapped().bytes.size();
      }
      refer(number, answer.place.pack);
      return true;
    case PackReuse::Verdict::wait:
      break;
  }
  stored.bytes.shrink_to_fit();
  waiting_bytes_ += stored.bytes.size();
  waiting_.emplace(number, std::move(stored));
  if (waiting_bytes_ > kMaxWaitingBytes) store_waiting(lock);
  return true;
}

void ChunkWriter::refer(uint32_t number, uint32_t known_pack) {
  const auto [found, added] = referred_.try_emplace(known_pack, static_cast<uint32_t>(table_.packs.size()));
  if (added) {
    table_.packs.push_back(reuse_->known().pack(known_pack));
    options_.catalogue->touch(table_.packs.back().digest);
  }
  const ChunkInfo& chunk = table_.chunks[number];
  const auto place = reuse_->known().find(chunk.digest, chunk.length);
  table_.locations[number] = {.pack = found->second,
                              .offset = place->offset,
                              .plain_offset = place->plain_offset,
                              .stored_length = place->stored_length,
                              .encoding = place->encoding};
  summary_.shared_bytes += place->stored_length;
}

bool ChunkWriter::fits(uint32_t number, const Stored& stored) const {
  return pack_.size() + stored.bytes.size() + pack_table_.size(1) <= kPackBytes &&
         pack_table_.plain_size() + round_up_to_page(table_.chunks[number].length) <= kPackPlainBytes;
}

void ChunkWriter::store(std::unique_lock<std::mutex>& lock, uint32_t number, const Stored& stored) {
  if (!fits(number, stored)) {
    hand_over_pack(lock);
    if (error_) return;
  }
  if (pack_.empty()) {
    pack_.reserve(kPackBytes);  // address space; memory comes as it is filled
    pack_number_ = static_cast<uint32_t>(table_.packs.size());
    table_.packs.push_back({});
  }
  table_.locations[number] = {.pack = pack_number_,
                              .offset = pack_.size(),
                              .plain_offset = pack_table_.plain_size(),
                              .stored_length = static_cast<uint32_t>(stored.bytes.size()),
                              .encoding = stored.encoding};
  pack_ += stored.bytes;
  pack_table_.add(table_.chunks[number], static_cast<uint32_t>(stored.bytes.size()), stored.encoding);
  table_.packs[pack_number_].plain_size = pack_table_.plain_size();
}

/// Chunks whose packs have not paid.
void ChunkWriter::store_waiting(std::unique_lock<std::mutex>& lock) {
  for (const uint32_t number : reuse_->give_up()) {
    const Stored stored = std::move(waiting_.extract(number).mapped());
    waiting_bytes_ -= stored.bytes.size();
    store(lock, number, stored);
    if (error_) return;
  }
}

/// Waits for an uploader, so that never more than kUploads packs and the one being filled are in memory.
void ChunkWriter::hand_over_pack(std::unique_lock<std::mutex>& lock) {
  changed_.wait(lock, [this] { return error_ || (!outgoing_ && uploading_ < kUploads); });
  if (error_) return;
  const uint64_t table_bytes = pack_table_.size(0);
  pack_ += pack_table_.finish();
  summary_.new_bytes += pack_.size();
  outgoing_ = Outgoing{pack_number_, std::exchange(pack_, {}), table_bytes};
  changed_.notify_all();
}

void ChunkWriter::upload() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return error_ || outgoing_ || uploads_end_; });
    if (error_ || !outgoing_) return;
    const Outgoing pack = std::move(*outgoing_);
    outgoing_.reset();
    ++uploading_;
    lock.unlock();
    auto done = upload_one(pack);
    lock.lock();
    --uploading_;
    if (!done) set_error(fail_with_context("write a pack", std::move(done).error()).error());
    changed_.notify_all();
  }
}

Result<> ChunkWriter::upload_one(const Outgoing& pack) {
  const Digest digest = Digest::of(pack.bytes);
  const std::string key = scope_.pack_key(digest);
  TRY_VOID(options_.intent ? options_.intent->create(key, pack.bytes) : store_->create(key, pack.bytes));
  if (options_.catalogue)
    options_.catalogue->remember(digest, std::string_view(pack.bytes).substr(pack.bytes.size() - pack.table_bytes));
  const std::lock_guard lock(mutex_);
  table_.packs[pack.number].digest = digest;
  table_.packs[pack.number].size = pack.bytes.size();
  return {};
}

Result<ChunkTable> ChunkWriter::finish() {
  if (!open_batch_.pieces.empty()) held_.push_back(std::exchange(open_batch_, {}));
  TRY_VOID(submit_held());
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  changed_.notify_all();
  for (std::thread& worker : workers_) worker.join();
  workers_.clear();
  std::unique_lock lock(mutex_);
  if (!error_ && reuse_) store_waiting(lock);
  if (!error_ && !pack_.empty()) hand_over_pack(lock);
  uploads_end_ = true;
  changed_.notify_all();
  lock.unlock();
  for (std::thread& uploader : uploaders_) uploader.join();
  uploaders_.clear();
  if (error_) return Unexpected(*error_);
  CHECK_PROMISE(table_.of_ticket.size() == tickets_);
  return std::move(table_);
}

}  // namespace hearth::image
