// Makes a layer: content goes through the chunk pipeline into packs as it is read, the tree becomes the index, written
// last. Until the index is there nothing refers to the packs: a build that fails or is cancelled leaves garbage, never
// half a layer.
#pragma once

#include "base/digest.hpp"
#include "base/result.hpp"
#include "blob/intent.hpp"
#include "blob/object_store.hpp"
#include "image/store_scope.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

namespace hearth::image {

class ChunkCatalogue;

/// What a new layer is; `digest` and `index_bytes` make the LayerRef of the catalog.
struct LayerSummary {
  Digest digest;               // names ws/<w>/layers/<hex>
  uint64_t index_bytes = 0;    // size of that object
  uint64_t content_bytes = 0;  // plain bytes of all files, holes not counted
  uint64_t stored_bytes = 0;   // bytes of its chunks in packs
  uint64_t entries = 0;        // names in the tree
  uint64_t chunks = 0;         // different chunks
  uint64_t packs = 0;
  uint64_t new_bytes = 0;     // of packs that were written for it
  uint64_t shared_bytes = 0;  // stored bytes of its chunks in packs of other layers
  uint64_t stale_pyc =
      0;  // .pyc files whose recorded source time or size is wrong: Python recompiles them at every start
};

/// Called now and then with the plain bytes read so far, from the building thread.
using BuildProgress = std::function<void(uint64_t content_bytes)>;

struct BuildOptions {
  int compression_level = 1;  // zstd; chosen for speed
  unsigned workers = 0;       // threads that hash and compress; 0 = one a core
  BuildProgress progress;
  std::stop_token stop;  // cancelled when requested
  /// Begun by the caller before it looked anything up, and ended by it after the root was written: keeps what the layer
  /// relies on. Without it nothing of other layers is referred to, and a collection at the same time may take packs
  /// away.
  std::shared_ptr<blob::Intent> intent;
  std::shared_ptr<ChunkCatalogue> catalogue;  // where to look for chunks that are there already; may be null
};

/// What overlayfs writes into an upper directory to hide lower names.
enum class OverlayMarks {
  keep,      // 0:0 character devices become whiteouts, trusted.overlay.opaque becomes opaque; redirects are refused
  ordinary,  // a plain directory: 0:0 devices are devices
};

struct WalkOptions {
  OverlayMarks marks = OverlayMarks::ordinary;
  uint32_t id_base = 0;  // first host id of the range the files were written under; subtracted from uid and gid
  uint32_t id_count = 0xFFFF'FFFF;  // ids outside [id_base, id_base + id_count) are refused
  std::vector<std::string>
      exclude;  // paths below the directory ("tmp", "var/cache/apt") that are left out with all below them
};

/// One layer from a directory (for instance the overlayfs upper directory of a build): everything but `exclude`, with
/// owners, modes, times to the nanosecond, xattrs, hard links and holes. Not for a directory that still changes.
Result<LayerSummary> build_layer_from_directory(const std::shared_ptr<blob::ObjectStore>& store,
                                                const StoreScope& scope, const std::filesystem::path& directory,
                                                const WalkOptions& walk = {}, const BuildOptions& options = {});

/// One file as a layer of its own, at `path_in_layer` ("weights.safetensors"), for artifacts mounted beside the image.
/// Owner root, mode 0644 (0755 when executable), directories 0755, mtime as the file's.
Result<LayerSummary> build_layer_from_file(const std::shared_ptr<blob::ObjectStore>& store, const StoreScope& scope,
                                           const std::filesystem::path& file, std::string_view path_in_layer,
                                           const BuildOptions& options = {});

}  // namespace hearth::image
