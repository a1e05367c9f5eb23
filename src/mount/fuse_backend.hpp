// The portable back end: each layer is a FUSE mount that this process serves, on any kernel with FUSE.
#pragma once

#include "mount/descriptor_keeper.hpp"
#include "mount/layer_backend.hpp"
#include "mount/lazy_core.hpp"

#include <memory>

namespace hearth::mount {

/// One mount a layer and id_base, however many images use it: ids are shifted here, since the kernel does not id-map
/// FUSE mounts. Mounts of an earlier imagefs are taken over from the holder when it opens; their readers wait for that.
class FuseBackend final : public LayerBackend {
 public:
  /// Errors: unavailable (no holder; it still has files of the EROFS back end, whose reads wait for somebody else).
  static Result<std::unique_ptr<FuseBackend>> open(std::unique_ptr<LazyCore> core,
                                                   std::unique_ptr<DescriptorKeeper> keeper);
  ~FuseBackend() override;

  std::string_view name() const override { return "fuse"; }
  Result<UniqueFd> mount_layer(const LayerQuestion& question, const ProgressSink& progress) override;
  Result<> recorded(const LayerQuestion& question) override;
  Result<std::string> trace(const LayerQuestion& question) override;
  std::string metrics() override;
  void stop() override;

 private:
  struct State;
  explicit FuseBackend(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace hearth::mount
