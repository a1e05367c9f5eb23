// Reads objects through a CDN or an HTTP cache (--pack-url), with a store behind it (docs/stores.md).
#pragma once

#include "base/clock.hpp"
#include "blob/range_source.hpp"

#include <filesystem>
#include <memory>
#include <string>

namespace hearth::blob {

struct PackMirrorOptions {
  std::string url;                      // http(s)://host[/path]: an object is URL/<key>
  std::filesystem::path secret_file{};  // empty: URLs are not signed
  Duration connect_timeout = seconds(1);
  Duration stall_timeout = seconds(3);  // no byte for so long: the store is asked instead
  int connections = 32;
};

struct PackMirrorCounts {
  uint64_t mirror_reads = 0;  // answered by the mirror, or begun by it
  uint64_t mirror_bytes = 0;
  uint64_t fallbacks = 0;  // asked of the mirror, answered by the store
  uint64_t skipped = 0;    // not asked of the mirror: its breaker was open, or the caller wanted the origin
};

/// Any failure of the mirror is answered from the store behind it; a mirror that fails repeatedly is left alone for a
/// while (Breaker), so that a dead one costs little. What comes from a mirror is no more trusted than what comes from
/// the store: the reader checks digests, and asks again with Route::origin when they do not match.
class PackMirror final : public RangeSource {
 public:
  /// invalid_argument for a URL that is none; not_found or denied for the secret's file.
  static Result<std::unique_ptr<PackMirror>> open(const PackMirrorOptions& options, std::shared_ptr<RangeSource> store);
  ~PackMirror() override;

  Result<std::string> read(std::string_view key, uint64_t offset, uint64_t length, const ReadOptions& options) override;
  Result<> stream(std::string_view key, ByteRange range, const ByteSink& sink, const ReadOptions& options) override;

  PackMirrorCounts counts() const;

 private:
  struct State;
  explicit PackMirror(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace hearth::blob
