// The back end that unpacks whole layers to local disk: DIR/layers/<hex>/tree.
#pragma once

#include "blob/object_store.hpp"
#include "mount/layer_backend.hpp"

#include <filesystem>
#include <memory>

namespace hearth::mount {

/// Owns DIR:
///   layers/<hex>/tree      a complete layer;  layers/<hex>/state  {"durable":true}, or {"boot":"<id>"}: complete, but
///   on
///                          disk only once the kernel has written it, so good for this boot alone
///   grants/<hex>/<w>       workspace <w> was seen to have this layer: no store is asked again
///   tmp/<…>                being unpacked; anything here is garbage when imagefs starts
/// A layer is in tmp until its last byte and moves by one rename: killed at any moment, it is whole or garbage.
class UnpackBackend final : public LayerBackend {
 public:
  /// Removes what an earlier life left half-made. Errors: denied (not root, or DIR is another's), exhausted,
  /// unavailable.
  static Result<std::unique_ptr<UnpackBackend>> open(std::filesystem::path dir,
                                                     std::shared_ptr<blob::ObjectStore> store);
  ~UnpackBackend() override;

  std::string_view name() const override { return "unpack"; }
  Result<UniqueFd> mount_layer(const LayerQuestion& question, const ProgressSink& progress) override;
  void stop() override;

 private:
  struct State;
  std::unique_ptr<State> state_;

 public:
  explicit UnpackBackend(std::unique_ptr<State> state);  // for open() alone
};

}  // namespace hearth::mount
