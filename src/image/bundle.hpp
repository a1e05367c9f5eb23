// Bundles: the pages that starts of one workload read of one layer, as one object that is streamed ahead of the reads.
// The document is docs/formats/bundle.md. The name of a bundle is the SHA-256 of its head, which holds the digests of
// everything behind it: so each block of pages is verified as it arrives, and nothing is given out before.
#pragma once

#include "base/digest.hpp"
#include "base/result.hpp"
#include "image/page_run.hpp"
#include "image/profile.hpp"
#include "image/start_history.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::image {

/// Plain bytes of the stream that one digest covers.
inline constexpr uint32_t kBundleBlockBytes = 64 * 1024;
/// Runs of pages in one bundle. With kMaxRecordedBytes it bounds the head, which is held in memory: 11 MiB.
inline constexpr uint32_t kMaxBundleRuns = kMaxRecordedBytes / kPageBytes;
inline constexpr uint64_t kMaxHistoryBytes = 16 * 1024 * 1024;

struct BundleHead {
  Digest layer;
  PageRuns runs;               // in the order of the stream
  std::vector<Digest> blocks;  // of each kBundleBlockBytes of the plain stream, the last may be shorter
  uint64_t plain_bytes = 0;    // of all runs
  uint64_t stream_bytes = 0;   // of the zstd frame
  uint64_t history_bytes = 0;
  Digest history;  // SHA-256 of the encoded history
};

/// The head as it begins the object, and its exact length for so many runs and plain bytes.
std::string encode(const BundleHead& head);
uint64_t bundle_head_bytes(uint64_t runs, uint64_t plain_bytes);
/// Takes exactly the head. corrupt unless it has this name and keeps every rule.
Result<BundleHead> decode_bundle_head(std::string_view bytes, const Digest& name);

/// Verified pages on their way out of a decoder; `bytes` is whole pages and valid during the call.
struct BundlePiece {
  uint32_t chunk = 0;
  uint32_t first_page = 0;
  std::string_view bytes;
};
using PieceSink = std::function<Result<>(const BundlePiece&)>;

/// Takes the bytes of the object as they arrive, in any cut. One thread. Memory: the head, a block, and zstd's window
/// of at most 16 MiB, whatever the bytes say. After an error it answers nothing else.
class BundleDecoder {
 public:
  explicit BundleDecoder(const Digest& name);
  ~BundleDecoder();
  BundleDecoder(const BundleDecoder&) = delete;
  BundleDecoder& operator=(const BundleDecoder&) = delete;

  /// corrupt before the first byte of a piece that is damaged; the sink's error is passed on. The history may follow
  /// the stream, and is checked then, or may be left away.
  Result<> feed(std::string_view bytes, const PieceSink& sink);
  /// After the last byte: corrupt when something is missing.
  Result<> finish() const;

  /// Null until the whole head has come.
  const BundleHead* head() const { return head_ ? &*head_ : nullptr; }
  uint64_t plain_bytes_given() const { return given_; }

 private:
  struct Stream;
  Result<> feed_head(std::string_view& bytes);
  Result<> feed_stream(std::string_view& bytes, const PieceSink& sink);
  Result<> feed_history(std::string_view& bytes);
  Result<> take_block(const PieceSink& sink);
  Result<> feed_all(std::string_view bytes, const PieceSink& sink);

  Digest name_;
  std::string head_bytes_;
  uint64_t head_size_ = 0;  // known once the fixed part is there
  std::optional<BundleHead> head_;
  std::unique_ptr<Stream> stream_;
  uint64_t given_ = 0;
  bool failed_ = false;
};

/// Fills `to` with the verified plain bytes of the run's pages, zeros after the end of the chunk.
using PageSource = std::function<Result<>(const PageRun& run, char* to)>;

struct BundleContent {
  Digest layer;
  const PageRuns& runs;
  const StartHistory& history;
};

struct BundleWriteOptions {
  int level = 12;  // zstd: with its window 3 % smaller than 9 with half of it; nobody waits for the writer
  std::stop_token stop;
};

/// Writes the object into an empty file. Memory: a chunk and zstd's context, 69 MiB. Errors: the source's, exhausted
/// (disk full, too much for a bundle), cancelled.
Result<BundleRef> write_bundle(int fd, const BundleContent& content, const PageSource& source,
                               const BundleWriteOptions& options = {});

/// The history at the end of a whole object, or of the part from BundleRef::streamed_bytes on.
Result<StartHistory> read_bundle_history(blob::ObjectStore& store, const StoreScope& scope, const BundleRef& bundle);

}  // namespace hearth::image
