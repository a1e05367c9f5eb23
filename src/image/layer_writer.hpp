// What every way of making a layer has in common: a tree, the content pipeline, and the index written when both are
// complete.
#pragma once

#include "base/result.hpp"
#include "blob/object_store.hpp"
#include "image/chunk_writer.hpp"
#include "image/file_tree.hpp"
#include "image/layer_builder.hpp"
#include "image/store_scope.hpp"
#include "oci/tar_reader.hpp"

#include <functional>
#include <memory>
#include <span>
#include <string_view>

namespace hearth::image {

/// Content of a regular file on its way in.
struct StoredContent {
  std::vector<Extent> extents;
  PycHead head{};  // first bytes, zeros where the file is shorter
};

/// One thread.
class LayerWriter {
 public:
  LayerWriter(const std::shared_ptr<blob::ObjectStore>& store, const StoreScope& scope, const BuildOptions& options)
      : store_(store), scope_(scope), options_(options), chunks_(store, scope, options) {}

  FileTree& tree() { return tree_; }

  /// The content of a file of `size` bytes: its stored runs (ascending, no overlap; holes between them) are widened to
  /// whole pages and cut at the multiples of kChunkBytes. `read(offset, to, size)` gives bytes of the stored runs from
  /// `offset` on, which only grows, and 0 at an early end (an error here: corrupt, "became shorter").
  using ReadContent = std::function<Result<size_t>(uint64_t offset, char* to, size_t size)>;
  Result<StoredContent> store_content(std::span<const oci::DataSegment> segments, uint64_t size,
                                      const ReadContent& read);

  /// Writes packs, then the index. Whether an equal layer was there before makes no difference.
  Result<LayerSummary> finish();

 private:
  std::shared_ptr<blob::ObjectStore> store_;
  StoreScope scope_;
  BuildOptions options_;
  FileTree tree_;
  ChunkWriter chunks_;
  uint64_t bytes_read_ = 0;
};

/// Whether the head of such a file is worth keeping for FileTree::count_stale_pyc().
inline bool is_pyc(std::string_view name) {
  return name.ends_with(".pyc");
}

}  // namespace hearth::image
