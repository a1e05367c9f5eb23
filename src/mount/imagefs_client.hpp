// Asks imagefs for a layer as a mount. The only part of src/mount that other processes use: the protocol's client.
#pragma once

#include "base/clock.hpp"
#include "base/digest.hpp"
#include "base/result.hpp"
#include "base/unique_fd.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

namespace hearth::mount {

/// How far a layer is from being usable. Bytes of file content; total is 0 while unknown.
struct LayerProgress {
  uint64_t done_bytes = 0;
  uint64_t total_bytes = 0;
};

struct LayerRequest {
  std::string workspace;                                  // content is looked up here first, then in what is shared
  Digest digest;                                          // of the layer's index
  std::string profile;                                    // names the workload that will read it; empty: none
  uint32_t id_base = 0;                                   // where ids will be shifted to by an id map, see layer()
  std::function<void(const LayerProgress&)> on_progress;  // optional; called on the calling thread
  Deadline deadline;                                      // for all of it, reconnecting included
};

/// Blocking; safe to use from several threads (each call has its own connection).
class ImagefsClient {
 public:
  explicit ImagefsClient(std::filesystem::path socket) : socket_(std::move(socket)) {}

  /// The layer's root as a detached, read-only mount (an open_tree(2) clone). Whoever holds the descriptor holds the
  /// layer. Ids are as in the image, to be shifted by an id map of the mount; FUSE mounts, which cannot have one, come
  /// shifted by id_base already. imagefs being restarted is waited for: the request is sent again for up to
  /// kReconnectFor after contact was lost, or until the deadline if that is sooner.
  /// Errors: not_found (no such layer for this workspace), corrupt (names the chunk), exhausted (disk full),
  /// unavailable (imagefs or the object store cannot be reached), deadline_exceeded.
  Result<UniqueFd> layer(const LayerRequest& request) const;

  /// The start that this request's mount was for is over: what was read so far is recorded as its profile.
  Result<> recorded(const LayerRequest& request) const;
  /// JSON of what the last start with this profile waited for (docs/formats/imagefs.md); not_found when there was none.
  Result<std::string> trace(const LayerRequest& request) const;

  /// Of imagefs, in the Prometheus text format. Asked once: unavailable when there is no imagefs just now.
  Result<std::string> metrics(Deadline deadline) const;

  static constexpr seconds kReconnectFor{30};

 private:
  std::filesystem::path socket_;
};

}  // namespace hearth::mount
