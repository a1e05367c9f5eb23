// A store in a folder of its own, and layers in it, for tests of mount back ends.
#pragma once

#include "base/digest.hpp"
#include "blob/object_store.hpp"
#include "image/layer_encoder.hpp"
#include "image/layer_reader.hpp"

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace hearth::mount::testing {

/// Removes its folders at the end. Throws where a test cannot go on.
class TestStore {
 public:
  static constexpr const char* kWorkspace = "acme";

  TestStore();
  ~TestStore();
  TestStore(const TestStore&) = delete;
  TestStore& operator=(const TestStore&) = delete;

  /// On a disk, for what a back end keeps.
  const std::filesystem::path& folder() const { return folder_; }
  /// In memory, where the machine has such a place (tmpfs), as the store itself: syncing costs nothing there.
  const std::filesystem::path& memory_folder() const { return memory_folder_; }
  const std::shared_ptr<blob::ObjectStore>& store() const { return store_; }

  /// An image of these layers (tars), imported: the digest of the one layer it becomes.
  Digest import_image(const std::vector<std::string>& layers);
  /// A layer made of a tree, for what no archive can say. Its packs, if any, are there already.
  Digest add_layer(const image::FileTree& tree, const image::ChunkTable& chunks = {});

  image::LayerReader open(const Digest& layer) const;

 private:
  std::filesystem::path folder_;
  std::filesystem::path memory_folder_;
  std::shared_ptr<blob::ObjectStore> store_;
};

}  // namespace hearth::mount::testing
