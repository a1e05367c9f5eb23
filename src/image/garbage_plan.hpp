// What in a store is garbage, and in which order it may go. Pure: a picture of the store goes in, decisions come out.
// The protocol around it, and why it is safe, is in docs/formats/store.md.
#pragma once

#include "base/clock.hpp"
#include "blob/keeping.hpp"

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace hearth::image {

enum class ObjectKind {
  layer,
  pack,
  upload,
  build_cache,
  import_record,
  profile,
  bundle,
  name,  // a generation of an image name or of aliases that a newer one has replaced
};
std::string_view to_string(ObjectKind kind);

/// An object that may be collected.
struct StoredObject {
  std::string key;
  uint64_t size = 0;  // bytes
  ObjectKind kind = ObjectKind::layer;
  uint64_t content_bytes = 0;  // of a layer: plain bytes of its files
  /// Keys without which it is broken: as long as it is there, they stay. Those that are not there do not matter.
  std::vector<std::string> needs;
  /// It lives as long as one of these does.
  std::vector<std::string> serves;
  /// Its needs cannot be read: it is taken to need every pack (a profile: every bundle) in its scope and in `shared`.
  bool needs_unknown = false;
};

/// All that is collectable in one scope, and whatever refers to it from elsewhere.
struct StorePicture {
  std::vector<StoredObject> objects;
  std::unordered_set<std::string> roots;  // keys; may name what is not there
};

/// Keys of what a root needs, of what that needs, and of what serves any of it.
std::unordered_set<std::string> find_live(const StorePicture& picture);

/// Objects below `scope` ("ws/<w>", "shared") that are not live.
std::vector<const StoredObject*> find_garbage(const StorePicture& picture, std::string_view scope);

/// What may go of the condemned, in this order, and how many of them must stay. Nothing goes that an object needs which
/// stays: so a run that ends early leaves no object behind that is broken.
struct DeletionPlan {
  std::vector<const StoredObject*> remove;
  std::vector<const StoredObject*> spare;
};
DeletionPlan plan_deletion(const StorePicture& picture, const std::unordered_set<std::string>& condemned);

enum class MarkStage {
  unfinished,  // is being written or removed
  young,       // the grace is not over
  awaited,     // a writer that was at work when it was written still is
  ripe,        // its garbage may go
  abandoned,   // was never finished, and nobody will
};
MarkStage stage_of(const blob::CondemnedMark& mark, const std::set<std::string>& live_writers, WallTime now,
                   Duration grace);

}  // namespace hearth::image
