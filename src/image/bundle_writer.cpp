#include "base/little_endian.hpp"
#include "image/bundle.hpp"
#include "image/bundle_format.hpp"

#include <zstd.h>

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

namespace hearth::image {

namespace {

namespace format = bundle_format;

Result<> write_at(int fd, std::string_view bytes, uint64_t offset) {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno == ENOSPC) return fail(ErrorCode::exhausted, "write a bundle: the disk is full");
    if (written < 0) return fail_errno("write a bundle", errno);
    bytes.remove_prefix(static_cast<size_t>(written));
    offset += static_cast<uint64_t>(written);
  }
  return {};
}

void append_digest(std::string& out, const Digest& digest) {
  out.append(reinterpret_cast<const char*>(digest.bytes().data()), Digest::kSize);
}

/// Compresses what it is given into the file from `offset` on, and takes the digest of each block of plain bytes.
class StreamWriter {
 public:
  StreamWriter(int fd, uint64_t offset) : fd_(fd), begin_(offset), zstd_(::ZSTD_createCCtx(), &::ZSTD_freeCCtx) {
    if (!zstd_) throw std::bad_alloc();
    packed_.resize(::ZSTD_CStreamOutSize());
  }

  void configure(int level, uint64_t plain_bytes) {
    const auto set = [this](ZSTD_cParameter parameter, int value) {
      CHECK_PROMISE(::ZSTD_isError(::ZSTD_CCtx_setParameter(zstd_.get(), parameter, value)) == 0);
    };
    set(ZSTD_c_compressionLevel, level);
    set(ZSTD_c_windowLog, format::kWindowLog);
    set(ZSTD_c_checksumFlag, 0);  // every block has a digest
    CHECK_PROMISE(::ZSTD_isError(::ZSTD_CCtx_setPledgedSrcSize(zstd_.get(), plain_bytes)) == 0);
  }

  Result<> add(std::string_view plain) {
    TRY_VOID(compress(plain, ZSTD_e_continue));
    while (!plain.empty()) {
      const size_t size = std::min<size_t>(kBundleBlockBytes - in_block_, plain.size());
      hasher_.update(plain.substr(0, size));
      plain.remove_prefix(size);
      in_block_ += size;
      if (in_block_ == kBundleBlockBytes) end_block();
    }
    return {};
  }

  Result<> end() {
    if (in_block_ > 0) end_block();
    return compress({}, ZSTD_e_end);
  }

  uint64_t bytes() const { return written_; }
  std::vector<Digest> take_blocks() { return std::move(blocks_); }

 private:
  void end_block() {
    blocks_.push_back(hasher_.finish());
    in_block_ = 0;
  }

  Result<> compress(std::string_view plain, ZSTD_EndDirective directive) {
    ZSTD_inBuffer in{plain.data(), plain.size(), 0};
    for (;;) {
      ZSTD_outBuffer out{packed_.data(), packed_.size(), 0};
      const size_t left = ::ZSTD_compressStream2(zstd_.get(), &out, &in, directive);
      if (::ZSTD_isError(left) != 0) {
        return fail(ErrorCode::internal, std::string("write a bundle: zstd: ") + ::ZSTD_getErrorName(left));
      }
      TRY_VOID(write_at(fd_, std::string_view(packed_).substr(0, out.pos), begin_ + written_));
      written_ += out.pos;
      const bool done = directive == ZSTD_e_end ? left == 0 : in.pos == in.size;
      if (done) return {};
    }
  }

  int fd_;
  uint64_t begin_;
  std::unique_ptr<ZSTD_CCtx, size_t (*)(ZSTD_CCtx*)> zstd_;
  std::string packed_;
  uint64_t written_ = 0;
  DigestHasher hasher_;
  size_t in_block_ = 0;
  std::vector<Digest> blocks_;
};

}  // namespace

uint64_t bundle_head_bytes(uint64_t runs, uint64_t plain_bytes) {
  const uint64_t blocks = (plain_bytes + kBundleBlockBytes - 1) / kBundleBlockBytes;
  return format::kFixedBytes + runs * format::kRunBytes + blocks * Digest::kSize;
}

std::string encode(const BundleHead& head) {
  std::string out(format::kMagic);
  append_le<uint32_t>(out, format::kVersion);
  append_le<uint32_t>(out, format::kFixedBytes);
  append_le<uint64_t>(out, bundle_head_bytes(head.runs.size(), head.plain_bytes));
  append_le<uint64_t>(out, head.plain_bytes);
  append_le<uint64_t>(out, head.stream_bytes);
  append_le<uint64_t>(out, head.history_bytes);
  append_digest(out, head.layer);
  append_digest(out, head.history);
  append_le<uint32_t>(out, static_cast<uint32_t>(head.runs.size()));
  out.append(format::kFixedBytes - out.size(), '\0');
  for (const PageRun& run : head.runs) {
    append_le<uint32_t>(out, run.chunk);
    append_le<uint16_t>(out, run.first);
    append_le<uint16_t>(out, run.pages);
  }
  for (const Digest& digest : head.blocks) append_digest(out, digest);
  CHECK_PROMISE(out.size() == bundle_head_bytes(head.runs.size(), head.plain_bytes));
  return out;
}

Result<BundleRef> write_bundle(int fd, const BundleContent& content, const PageSource& source,
                               const BundleWriteOptions& options) {
  BundleHead head{.layer = content.layer, .runs = content.runs, .plain_bytes = bytes_of(content.runs)};
  if (head.runs.size() > kMaxBundleRuns || head.plain_bytes > kMaxRecordedBytes) {
    return fail(ErrorCode::exhausted, "write a bundle: more pages than a bundle may hold");
  }
  const std::string history = encode(content.history);
  if (history.size() > kMaxHistoryBytes) return fail(ErrorCode::exhausted, "write a bundle: its history is too large");
  head.history_bytes = history.size();
  head.history = Digest::of(history);
  const uint64_t head_bytes = bundle_head_bytes(head.runs.size(), head.plain_bytes);

  StreamWriter stream(fd, head_bytes);
  stream.configure(options.level, head.plain_bytes);
  std::string plain(kChunkBytes, '\0');
  for (const PageRun& run : head.runs) {
    if (options.stop.stop_requested()) return fail(ErrorCode::cancelled, "write a bundle: given up");
    CHECK_PROMISE(is_valid(run));
    TRY_VOID(source(run, plain.data()));
    TRY_VOID(stream.add(std::string_view(plain).substr(0, bytes_of(run))));
  }
  TRY_VOID(stream.end());
  head.stream_bytes = stream.bytes();
  head.blocks = stream.take_blocks();
  TRY_VOID(write_at(fd, history, head_bytes + head.stream_bytes));
  const std::string encoded = encode(head);
  TRY_VOID(write_at(fd, encoded, 0));
  return BundleRef{.digest = Digest::of(encoded),
                   .bytes = head_bytes + head.stream_bytes + history.size(),
                   .streamed_bytes = head_bytes + head.stream_bytes,
                   .plain_bytes = head.plain_bytes,
                   .runs = head.runs.size()};
}

Result<StartHistory> read_bundle_history(blob::ObjectStore& store, const StoreScope& scope, const BundleRef& bundle) {
  const uint64_t size = bundle.bytes - std::min(bundle.bytes, bundle.streamed_bytes);
  if (size > kMaxHistoryBytes) return fail(ErrorCode::corrupt, "bundle: its history is too large");
  TRY(const std::string bytes, store.get_range(bundle_object_key(scope, bundle.digest), bundle.streamed_bytes, size));
  return decode_history(bytes);
}

}  // namespace hearth::image
