// One way of making a layer appear as a directory: unpacked, or lazily by the kernel (EROFS) or through FUSE.
#pragma once

#include "base/digest.hpp"
#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "mount/imagefs_client.hpp"
#include "mount/message.hpp"

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

  /// The root of the layer as a detached read-only mount, ids as ImagefsClient::layer says. Callers asking for one
  /// layer at the same time share one effort; each gets progress. The caller's leaving does not undo the effort.
  virtual Result<UniqueFd> mount_layer(const LayerQuestion& question, const ProgressSink& progress) = 0;

  /// The start of question.profile is over. Nothing to do for a back end that has everything anyway.
  virtual Result<> recorded(const LayerQuestion& /*question*/) { return {}; }

  /// JSON; not_found when nothing is known of such a start.
  virtual Result<std::string> trace(const LayerQuestion& question) {
    return fail(ErrorCode::not_found, "the " + std::string(name()) + " back end fetches whole layers: no reads of " +
                                          question.digest.to_string() + " are traced");
  }

  /// In the Prometheus text format.
  virtual std::string metrics() { return {}; }

  /// Gives up unfinished work: calls under way return `cancelled`.
  virtual void stop() = 0;
};

}  // namespace hearth::mount
