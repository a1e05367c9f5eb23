// Writes the file tree of a layer from its index into an empty directory: every entry, owner, mode, time, xattr, link,
// device and hole as the index says, whatever names it has.
#pragma once

#include "base/result.hpp"
#include "image/layer_index.hpp"

#include <cstdint>
#include <functional>
#include <span>
#include <stop_token>
#include <string_view>

namespace hearth::mount {

/// Gives the verified content of chunks, in the order that suits the store. Called from several threads at once, with
/// disjoint sets. image::LayerReader::read_chunks has this shape.
using ChunkSource = std::function<Result<>(
    std::span<const uint32_t> chunks, const std::function<Result<>(uint32_t chunk, std::string_view bytes)>& sink)>;

struct TreeWriteOptions {
  unsigned threads = 0;                                  // that fetch, verify and write content; 0 = one a core
  std::function<void(uint64_t done_bytes)> on_progress;  // called from any of them, one at a time
  std::stop_token stop;
};

/// `root` is an empty directory that nobody else touches meanwhile. Paths are never followed: each name is used alone,
/// relative to a descriptor of its directory, links not followed. On error the directory holds a part.
/// Errors: exhausted (disk full, too many links), corrupt (from the source), denied (not root), cancelled.
Result<> write_tree(const image::LayerIndex& index, const ChunkSource& source, int root,
                    const TreeWriteOptions& options);

}  // namespace hearth::mount
