// The back end of the kernel: each layer is an EROFS mount whose metadata is complete and whose data files are filled
// when the kernel says that somebody is about to read them.
#pragma once

#include "mount/holder_link.hpp"
#include "mount/layer_backend.hpp"
#include "mount/lazy_core.hpp"

#include <memory>

namespace hearth::mount {

/// Layers mounted by an earlier imagefs are taken over from the holder when it opens. A layer is mounted once, however
/// many images use it. In DIR: layers/<hex>/erofs (metadata image, made anew in each boot).
class ErofsBackend final : public LayerBackend {
 public:
  /// Errors: unavailable (no holder, or this host cannot do it: see backend_probe.hpp).
  static Result<std::unique_ptr<ErofsBackend>> open(std::unique_ptr<LazyCore> core, std::unique_ptr<HolderLink> holder);
  ~ErofsBackend() override;

  std::string_view name() const override { return "erofs"; }
  Result<UniqueFd> mount_layer(const LayerQuestion& question, const ProgressSink& progress) override;
  Result<> recorded(const LayerQuestion& question) override;
  Result<std::string> trace(const LayerQuestion& question) override;
  std::string metrics() override;
  void stop() override;

 private:
  struct State;
  explicit ErofsBackend(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace hearth::mount
