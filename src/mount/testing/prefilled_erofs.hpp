// EROFS without anything lazy, for tests: the image is our writer's, and every pack's plain space is filled before the
// mount.
#pragma once

#include "blob/object_store.hpp"
#include "mount/layer_backend.hpp"

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace hearth::mount::testing {

/// Writes below a folder, where the files of each layer stay: <hex>.image and <hex>.<pack>.data.
class PrefilledErofs final : public LayerBackend {
 public:
  PrefilledErofs(std::filesystem::path folder, std::shared_ptr<blob::ObjectStore> store)
      : folder_(std::move(folder)), store_(std::move(store)) {}

  std::string_view name() const override { return "prefilled-erofs"; }
  /// corrupt when fsck.erofs, where it is installed, finds fault with the image.
  Result<UniqueFd> mount_layer(const LayerQuestion& question, const ProgressSink& progress) override;
  void stop() override {}

 private:
  std::filesystem::path folder_;
  std::shared_ptr<blob::ObjectStore> store_;
};

/// Whether this machine can mount EROFS images from files.
bool erofs_is_mountable();

/// What fsck.erofs says against an image; empty when it accepts it, or is not installed.
Result<std::string> fsck_erofs(const std::filesystem::path& image, const std::vector<std::filesystem::path>& devices);

}  // namespace hearth::mount::testing
