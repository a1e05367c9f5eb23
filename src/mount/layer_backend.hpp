// One way of making a layer appear as a directory. unpack is the first; EROFS and FUSE follow behind this interface.
#pragma once

#include "base/digest.hpp"
#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "mount/imagefs_client.hpp"

#include <functional>
#include <stop_token>
#include <string>
#include <string_view>

namespace hearth::mount {

using ProgressSink = std::function<void(const LayerProgress&)>;

/// Thread-safe; calls block.
class LayerBackend {
 public:
  virtual ~LayerBackend() = default;

  /// Its name in answers and on the command line.
  virtual std::string_view name() const = 0;

  /// The root of the layer as a detached read-only mount, ids as in the image. Callers asking for one layer at the same
  /// time share one effort; each gets progress. The caller's leaving does not undo the effort.
  virtual Result<UniqueFd> mount_layer(const std::string& workspace, const Digest& digest,
                                       const ProgressSink& progress) = 0;

  /// Gives up unfinished work: calls under way return `cancelled`.
  virtual void stop() = 0;
};

}  // namespace hearth::mount
