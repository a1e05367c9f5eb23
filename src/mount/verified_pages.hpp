// Pages of a layer, each verified against the layer's own digests right before it is given out: what bundles are made
// of. So whatever was stored in this node's cache, and by whom, a bundle holds what the layer says.
#pragma once

#include "base/digest.hpp"
#include "base/result.hpp"
#include "image/page_run.hpp"
#include "mount/cached_layer.hpp"
#include "mount/fetcher.hpp"

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <string>

namespace hearth::mount {

/// One thread. Memory: kKept blocks. A block that is not on disk as a whole is fetched, as prefetch.
class VerifiedPages {
 public:
  static constexpr size_t kKept = 128;

  /// Borrowed: the fetcher outlives it.
  VerifiedPages(std::shared_ptr<CachedLayer> layer, Fetcher& fetcher) : layer_(std::move(layer)), fetcher_(fetcher) {}

  /// An image::PageSource. corrupt when the disk has something else (then its pages are distrusted); else the
  /// fetcher's.
  Result<> read(const image::PageRun& run, char* to);

 private:
  struct Block {
    uint32_t chunk = 0;
    uint32_t number = 0;
    std::string bytes;
  };
  Result<const std::string*> block(uint32_t chunk, uint32_t number);
  Result<std::string> read_block(const PackChunk& chunk, uint32_t number);

  const std::shared_ptr<CachedLayer> layer_;
  Fetcher& fetcher_;
  std::list<Block> kept_;  // the newest first
};

}  // namespace hearth::mount
