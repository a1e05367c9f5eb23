// What the catalog keeps in the store: the layers that versions and image names refer to. And what of its own it no
// longer needs. For garbage collection and storage accounting.
#pragma once

#include "base/result.hpp"
#include "blob/object_store.hpp"
#include "catalog/version_record.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::catalog {

/// One reference to a layer. Of a version, or of an image name.
struct LayerUse {
  BranchRef branch;      // with a version
  uint32_t version = 0;  // 0: an image name
  std::string image;     // without a version
  LayerRef layer;

  /// "model digits, branch main, version 3" or "image python".
  std::string user() const;
};

struct KeptLayers {
  std::vector<LayerUse> uses;
  std::vector<blob::ObjectInfo> replaced;  // generations of aliases and of image names that are not the highest
};

/// Thread-safe. Remembers records it has read: they never change. Unlike the snapshot that routers use it leaves
/// nothing out: a live record that cannot be read is an error, so that nobody takes its layers for unused.
class KeptLayerReader {
 public:
  explicit KeptLayerReader(std::shared_ptr<blob::ObjectStore> store) : store_(std::move(store)) {}

  /// Of the versions and image names of a workspace, as they are now.
  Result<KeptLayers> workspace(std::string_view workspace);
  /// Of the image names that are published to all.
  Result<KeptLayers> shared();

 private:
  using Layers = std::vector<LayerRef>;
  using LayersIn = Result<Layers>(std::string_view record);
  Result<Layers> layers_of(const std::string& key, LayersIn* layers_in);
  Result<> add_versions(std::string_view workspace, KeptLayers& kept);
  Result<> add_images(const std::string& prefix, KeptLayers& kept);
  Result<> add_images_once(const std::string& prefix, KeptLayers& kept);

  std::shared_ptr<blob::ObjectStore> store_;
  std::mutex mutex_;
  std::map<std::string, Layers, std::less<>> known_;  // by key
};

}  // namespace hearth::catalog
