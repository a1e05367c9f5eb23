#include "base/little_endian.hpp"
#include "image/bundle.hpp"
#include "image/bundle_format.hpp"

#include <zstd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <new>

namespace hearth::image {

namespace {

namespace format = bundle_format;

Unexpected broken(std::string_view rule) {
  return fail(ErrorCode::corrupt, "bundle: " + std::string(rule));
}

Digest load_digest(std::string_view bytes, size_t offset) {
  std::array<uint8_t, Digest::kSize> value{};
  std::memcpy(value.data(), bytes.data() + offset, value.size());
  return Digest(value);
}

/// Length of the whole head, from its fixed part. Bounds everything that is allocated later.
Result<uint64_t> read_head_size(std::string_view fixed) {
  if (!fixed.starts_with(format::kMagic)) return broken("not a bundle (wrong magic)");
  const auto version = load_le<uint32_t>(fixed, format::kVersionAt);
  if (version != format::kVersion) {
    return broken("format version " + std::to_string(version) + " is not known to this program; it knows 1");
  }
  if (load_le<uint32_t>(fixed, format::kFixedBytesAt) != format::kFixedBytes) return broken("wrong header size");
  const auto runs = load_le<uint32_t>(fixed, format::kRunsAt);
  const auto plain = load_le<uint64_t>(fixed, format::kPlainBytesAt);
  if (runs > kMaxBundleRuns || plain > kMaxRecordedBytes) return broken("larger than a bundle may be");
  if (load_le<uint64_t>(fixed, format::kHistoryBytesAt) > kMaxHistoryBytes) return broken("its history is too large");
  const uint64_t size = bundle_head_bytes(runs, plain);
  if (load_le<uint64_t>(fixed, format::kHeadBytesAt) != size) return broken("the counts do not match the size");
  if (load_le<uint32_t>(fixed, format::kReservedAt) != 0 || load_le<uint64_t>(fixed, format::kReservedAt + 4) != 0) {
    return broken("reserved header bytes are not zero");
  }
  return size;
}

}  // namespace

Result<BundleHead> decode_bundle_head(std::string_view bytes, const Digest& name) {
  if (bytes.size() < format::kFixedBytes) return broken("cut");
  TRY(const uint64_t size, read_head_size(bytes));
  if (bytes.size() != size) return broken("cut");
  if (Digest::of(bytes) != name) return broken("its head does not match its name " + name.hex());
  BundleHead head;
  head.layer = load_digest(bytes, format::kLayerAt);
  head.history = load_digest(bytes, format::kHistoryAt);
  head.plain_bytes = load_le<uint64_t>(bytes, format::kPlainBytesAt);
  head.stream_bytes = load_le<uint64_t>(bytes, format::kStreamBytesAt);
  head.history_bytes = load_le<uint64_t>(bytes, format::kHistoryBytesAt);
  const auto runs = load_le<uint32_t>(bytes, format::kRunsAt);
  head.runs.reserve(runs);
  size_t at = format::kFixedBytes;
  uint64_t plain = 0;
  for (uint32_t i = 0; i < runs; ++i, at += format::kRunBytes) {
    const PageRun run{load_le<uint32_t>(bytes, at), load_le<uint16_t>(bytes, at + 4), load_le<uint16_t>(bytes, at + 6)};
    if (!is_valid(run)) return broken("a run of pages that no chunk has");
    plain += bytes_of(run);
    head.runs.push_back(run);
  }
  if (plain != head.plain_bytes) return broken("the runs do not add up");
  for (; at < size; at += Digest::kSize) head.blocks.push_back(load_digest(bytes, at));
  return head;
}

/// What is behind the head: the zstd stream, then perhaps the history.
struct BundleDecoder::Stream {
  Stream() : zstd(::ZSTD_createDCtx(), &::ZSTD_freeDCtx), block(kBundleBlockBytes, '\0') {
    if (!zstd) throw std::bad_alloc();
    CHECK_PROMISE(::ZSTD_isError(::ZSTD_DCtx_setParameter(zstd.get(), ZSTD_d_windowLogMax, format::kWindowLog)) == 0);
  }

  std::unique_ptr<ZSTD_DCtx, size_t (*)(ZSTD_DCtx*)> zstd;
  uint64_t taken = 0;        // bytes of the frame
  bool frame_ended = false;  // by zstd's own word
  std::string block;         // being filled
  size_t filled = 0;
  size_t next_block = 0;
  size_t run = 0;  // the one that the next plain byte belongs to
  uint32_t pages_of_run = 0;
  DigestHasher history;
  uint64_t history_taken = 0;
  Digest history_digest;  // once it is complete
};

BundleDecoder::BundleDecoder(const Digest& name) : name_(name) {}
BundleDecoder::~BundleDecoder() = default;

Result<> BundleDecoder::feed(std::string_view bytes, const PieceSink& sink) {
  if (failed_) return broken("damaged; nothing more is read from it");
  auto done = feed_all(bytes, sink);
  if (!done) failed_ = true;
  return done;
}

Result<> BundleDecoder::feed_all(std::string_view bytes, const PieceSink& sink) {
  if (!head_) TRY_VOID(feed_head(bytes));
  if (!head_) return {};
  TRY_VOID(feed_stream(bytes, sink));
  return feed_history(bytes);
}

Result<> BundleDecoder::feed_head(std::string_view& bytes) {
  const auto take = [this, &bytes](uint64_t until) {
    const auto size = static_cast<size_t>(std::min<uint64_t>(until - head_bytes_.size(), bytes.size()));
    head_bytes_.append(bytes.substr(0, size));
    bytes.remove_prefix(size);
    return head_bytes_.size() == until;
  };
  if (head_size_ == 0) {
    if (!take(format::kFixedBytes)) return {};
    TRY(head_size_, read_head_size(head_bytes_));
  }
  if (!take(head_size_)) return {};
  TRY(head_, decode_bundle_head(head_bytes_, name_));
  head_bytes_ = std::string();
  stream_ = std::make_unique<Stream>();
  return {};
}

Result<> BundleDecoder::feed_stream(std::string_view& bytes, const PieceSink& sink) {
  Stream& stream = *stream_;
  const auto size = static_cast<size_t>(std::min<uint64_t>(head_->stream_bytes - stream.taken, bytes.size()));
  const std::string_view now = bytes.substr(0, size);
  ZSTD_inBuffer in{now.data(), now.size(), 0};
  bytes.remove_prefix(size);
  stream.taken += size;
  for (bool more = size > 0; more;) {
    if (stream.frame_ended) return broken("bytes after the end of the zstd frame");
    const uint64_t start = uint64_t{stream.next_block} * kBundleBlockBytes;
    const auto wanted = static_cast<size_t>(std::min<uint64_t>(kBundleBlockBytes, head_->plain_bytes - start));
    char spare = 0;  // the frame may end only after the last block: one byte too many is noticed here
    ZSTD_outBuffer out{wanted > 0 ? stream.block.data() : &spare, wanted > 0 ? wanted : 1, stream.filled};
    const size_t left = ::ZSTD_decompressStream(stream.zstd.get(), &out, &in);
    if (::ZSTD_isError(left) != 0) return broken(std::string("zstd: ") + ::ZSTD_getErrorName(left));
    if (wanted == 0 && out.pos > 0) return broken("more plain bytes than its head says");
    stream.frame_ended = left == 0;
    const bool full = wanted > 0 && out.pos == wanted;
    more = in.pos < in.size || (full && !stream.frame_ended);
    stream.filled = out.pos;
    if (full) TRY_VOID(take_block(sink));
  }
  return {};
}

Result<> BundleDecoder::take_block(const PieceSink& sink) {
  Stream& stream = *stream_;
  std::string_view plain = std::string_view(stream.block).substr(0, stream.filled);
  if (Digest::of(plain) != head_->blocks[stream.next_block]) {
    return broken("block " + std::to_string(stream.next_block) + " does not match its digest");
  }
  ++stream.next_block;
  stream.filled = 0;
  while (!plain.empty()) {
    const PageRun& run = head_->runs[stream.run];
    const auto pages =
        static_cast<uint32_t>(std::min<uint64_t>(uint64_t{run.pages} - stream.pages_of_run, plain.size() / kPageBytes));
    const size_t size = size_t{pages} * kPageBytes;
    TRY_VOID(sink({run.chunk, run.first + stream.pages_of_run, plain.substr(0, size)}));
    plain.remove_prefix(size);
    given_ += size;
    stream.pages_of_run += pages;
    if (stream.pages_of_run == run.pages) {
      ++stream.run;
      stream.pages_of_run = 0;
    }
  }
  return {};
}

Result<> BundleDecoder::feed_history(std::string_view& bytes) {
  if (bytes.empty()) return {};
  Stream& stream = *stream_;
  if (bytes.size() > head_->history_bytes - stream.history_taken) return broken("bytes after its end");
  stream.history.update(bytes);
  stream.history_taken += bytes.size();
  if (stream.history_taken < head_->history_bytes) return {};
  stream.history_digest = stream.history.finish();
  if (stream.history_digest != head_->history) return broken("its history does not match its digest");
  return {};
}

Result<> BundleDecoder::finish() const {
  if (failed_) return broken("damaged");
  if (!head_) return broken("cut within the head");
  const bool whole = stream_->taken == head_->stream_bytes && stream_->next_block == head_->blocks.size();
  if (!whole || (!stream_->frame_ended && head_->stream_bytes > 0)) return broken("cut within the stream");
  if (stream_->history_taken > 0 && stream_->history_taken < head_->history_bytes)
    return broken("cut within the history");
  return {};
}

}  // namespace hearth::image
