#include "image/chunk_writer.hpp"

#include <zstd.h>

#include <algorithm>
#include <limits>
#include <new>

namespace hearth::image {

namespace {

constexpr size_t kMaxQueuedBytes = 16 * 1024 * 1024;
constexpr uint32_t kMaxQueuedJobs = 4096;
constexpr unsigned kMaxWorkers = 64;

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

}  // namespace

ChunkWriter::ChunkWriter(std::shared_ptr<blob::ObjectStore> store, StoreScope scope, const BuildOptions& options)
    : store_(std::move(store)), scope_(std::move(scope)), level_(options.compression_level) {
  const unsigned wanted = options.workers != 0 ? options.workers : std::thread::hardware_concurrency();
  for (unsigned i = 0; i < std::clamp(wanted, 1u, kMaxWorkers); ++i) workers_.emplace_back([this] { work(); });
  uploader_ = std::thread([this] { upload(); });
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
  if (uploader_.joinable()) uploader_.join();
}

void ChunkWriter::set_error(Error error) {
  if (!error_) error_ = std::move(error);
}

Result<uint32_t> ChunkWriter::add(std::string bytes) {
  CHECK_PROMISE(!bytes.empty() && bytes.size() <= kChunkBytes);
  std::unique_lock lock(mutex_);
  changed_.wait(
      lock, [this] { return error_ || (queued_bytes_ < kMaxQueuedBytes && tickets_ - next_ticket_ < kMaxQueuedJobs); });
  if (error_) return Unexpected(*error_);
  if (tickets_ == std::numeric_limits<uint32_t>::max())
    return fail(ErrorCode::exhausted, "too many chunks in one layer");
  queued_bytes_ += bytes.size();
  const uint32_t ticket = tickets_++;
  jobs_.push_back({ticket, std::move(bytes)});
  changed_.notify_all();
  return ticket;
}

void ChunkWriter::work() {
  const std::unique_ptr<ZSTD_CCtx, size_t (*)(ZSTD_CCtx*)> compressor(::ZSTD_createCCtx(), &::ZSTD_freeCCtx);
  if (!compressor) throw std::bad_alloc();
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return error_ || closing_ || !jobs_.empty(); });
    if (error_ || jobs_.empty()) return;
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    Done done = process(std::move(job.bytes), compressor.get());
    lock.lock();
    done_.emplace(job.ticket, std::move(done));
    append(lock);
    changed_.notify_all();
  }
}

/// Without the lock, but for a look at what is known: a chunk that is stored already need not be compressed.
ChunkWriter::Done ChunkWriter::process(std::string bytes, void* compressor) {
  Done done{.digest = Digest::of(bytes), .length = static_cast<uint32_t>(bytes.size())};
  {
    const std::lock_guard lock(mutex_);
    if (known_.contains(done.digest)) return done;
  }
  done.blocks = digest_blocks(bytes);
  std::string packed;
  size_t size = 0;
  packed.resize_and_overwrite(bytes.size(), [this, &bytes, &size, compressor](char* buffer, size_t capacity) {
    size =
        ::ZSTD_compressCCtx(static_cast<ZSTD_CCtx*>(compressor), buffer, capacity, bytes.data(), bytes.size(), level_);
    return ::ZSTD_isError(size) != 0 ? size_t{0} : size;  // does not fit: it is no smaller than the plain bytes
  });
  if (!packed.empty() && pays(packed.size(), bytes.size())) {
    done.stored = std::move(packed);
    done.encoding = ChunkEncoding::zstd;
  } else {
    done.stored = std::move(bytes);
  }
  return done;
}

/// Whoever finishes the next chunk in order appends it, and all that waited for it.
void ChunkWriter::append(std::unique_lock<std::mutex>& lock) {
  if (appending_) return;  // that thread looks again before it stops
  appending_ = true;
  while (!error_ && !done_.empty() && done_.begin()->first == next_ticket_) {
    Done done = std::move(done_.begin()->second);
    if (!known_.contains(done.digest) && !fits(done)) {
      hand_over_pack(lock);
      if (error_) break;
    }
    done_.erase(done_.begin());
    queued_bytes_ -= done.length;
    append_one(done);
    ++next_ticket_;
    changed_.notify_all();
  }
  appending_ = false;
}

bool ChunkWriter::fits(const Done& done) const {
  return pack_.size() + done.stored.size() + pack_table_.size(1) <= kPackBytes &&
         pack_table_.plain_size() + round_up_to_page(done.length) <= kPackPlainBytes;
}

void ChunkWriter::append_one(const Done& done) {
  if (const auto found = known_.find(done.digest); found != known_.end()) {
    table_.of_ticket.push_back(found->second);
    return;
  }
  const auto number = static_cast<uint32_t>(table_.chunks.size());
  if (pack_.empty()) {
    pack_.reserve(kPackBytes);  // address space; memory comes as it is filled
    table_.packs.push_back({});
  }
  known_.emplace(done.digest, number);
  table_.of_ticket.push_back(number);
  table_.chunks.push_back({done.digest, done.length});
  table_.blocks.insert(table_.blocks.end(), done.blocks.begin(), done.blocks.end());
  table_.locations.push_back({.pack = static_cast<uint32_t>(table_.packs.size() - 1),
                              .offset = pack_.size(),
                              .plain_offset = pack_table_.plain_size(),
                              .stored_length = static_cast<uint32_t>(done.stored.size()),
                              .encoding = done.encoding});
  pack_ += done.stored;
  pack_table_.add(table_.chunks.back(), static_cast<uint32_t>(done.stored.size()), done.encoding);
  table_.packs.back().plain_size = pack_table_.plain_size();
}

/// Waits for the uploader to be free, so that never more than two packs are in memory.
void ChunkWriter::hand_over_pack(std::unique_lock<std::mutex>& lock) {
  changed_.wait(lock, [this] { return error_ || (!outgoing_ && !uploading_); });
  if (error_) return;
  pack_ += pack_table_.finish();
  outgoing_ = std::move(pack_);
  pack_ = std::string();
  changed_.notify_all();
}

void ChunkWriter::upload() {
  std::unique_lock lock(mutex_);
  for (uint32_t number = 0;; ++number) {
    changed_.wait(lock, [this] { return error_ || outgoing_ || uploads_end_; });
    if (error_ || !outgoing_) return;
    const std::string pack = std::move(*outgoing_);
    outgoing_.reset();
    uploading_ = true;
    lock.unlock();
    const Digest digest = Digest::of(pack);
    auto created = store_->create(scope_.pack_key(digest), pack);
    lock.lock();
    uploading_ = false;
    if (!created) {
      set_error(fail_with_context("write a pack", std::move(created).error()).error());
    } else {
      table_.packs[number].digest = digest;
      table_.packs[number].size = pack.size();
    }
    changed_.notify_all();
  }
}

Result<ChunkTable> ChunkWriter::finish() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  changed_.notify_all();
  for (std::thread& worker : workers_) worker.join();
  workers_.clear();
  std::unique_lock lock(mutex_);
  if (!error_ && !pack_.empty()) hand_over_pack(lock);
  uploads_end_ = true;
  changed_.notify_all();
  lock.unlock();
  uploader_.join();
  if (error_) return Unexpected(*error_);
  CHECK_PROMISE(next_ticket_ == tickets_);
  return std::move(table_);
}

}  // namespace hearth::image
