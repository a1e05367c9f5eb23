#include "mount/chunk_decoder.hpp"

#include <zstd.h>

#include <algorithm>
#include <new>

namespace hearth::mount {

struct ChunkDecoder::Context {
  std::unique_ptr<ZSTD_DCtx, size_t (*)(ZSTD_DCtx*)> zstd{::ZSTD_createDCtx(), &::ZSTD_freeDCtx};
  std::unique_ptr<char[]> plain = std::make_unique_for_overwrite<char[]>(image::kChunkBytes);
};

ChunkDecoder::ChunkDecoder() : context_(std::make_unique<Context>()) {
  if (!context_->zstd) throw std::bad_alloc();
}
ChunkDecoder::~ChunkDecoder() = default;

Result<std::string_view> ChunkDecoder::decode(const PackChunk& chunk, std::string_view stored) {
  if (chunk.encoding == image::ChunkEncoding::raw) return verify(chunk, stored);
  const size_t size = ::ZSTD_decompressDCtx(context_->zstd.get(), context_->plain.get(),
                                            std::min(chunk.length, image::kChunkBytes), stored.data(), stored.size());
  if (::ZSTD_isError(size) != 0) {
    return fail(ErrorCode::corrupt,
                "chunk " + chunk.digest.hex() + " cannot be decompressed: " + ::ZSTD_getErrorName(size));
  }
  return verify(chunk, {context_->plain.get(), size});
}

Result<std::string_view> ChunkDecoder::verify(const PackChunk& chunk, std::string_view plain) {
  if (plain.size() == chunk.length && Digest::of(plain) == chunk.digest) return plain;
  return fail(ErrorCode::corrupt, "chunk " + chunk.digest.hex() + " does not match its digest");
}

DecodeCrew::DecodeCrew(unsigned at_once) : unmade_(std::max(1U, at_once)) {
  assistants_.start(static_cast<int>(unmade_) - 1, [this] { assist(); });
}

DecodeCrew::~DecodeCrew() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  batch_came_.notify_all();
  assistants_.join();
}

/// Does one piece of the batch; false when none is left to be taken.
bool DecodeCrew::work_on(Batch& batch, std::unique_lock<std::mutex>& lock) {
  if (batch.next == batch.count) return false;
  const size_t mine = batch.next++;
  if (batch.next == batch.count) std::erase(batches_, &batch);
  decoder_free_.wait(lock, [this] { return !idle_.empty() || unmade_ > 0; });
  std::unique_ptr<ChunkDecoder> decoder;
  if (!idle_.empty()) {
    decoder = std::move(idle_.back());
    idle_.pop_back();
  } else {
    --unmade_;
  }
  lock.unlock();
  if (!decoder) decoder = std::make_unique<ChunkDecoder>();
  batch.work(mine, *decoder);
  lock.lock();
  idle_.push_back(std::move(decoder));
  decoder_free_.notify_one();
  if (++batch.done == batch.count && batch.count > 1) batch_done_.notify_all();
  return true;
}

void DecodeCrew::for_each(size_t count, const Work& work) {
  if (count == 0) return;
  std::unique_lock lock(mutex_);
  Batch batch{.work = work, .count = count};
  if (count > 1) {
    batches_.push_back(&batch);
    batch_came_.notify_all();
  }
  while (work_on(batch, lock)) {
  }
  batch_done_.wait(lock, [&batch] { return batch.done == batch.count; });
}

void DecodeCrew::assist() {
  std::unique_lock lock(mutex_);
  for (;;) {
    batch_came_.wait(lock, [this] { return ending_ || !batches_.empty(); });
    if (ending_) return;
    work_on(*batches_.front(), lock);
  }
}

}  // namespace hearth::mount
