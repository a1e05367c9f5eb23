// The FUSE mounts that a process serves, and what of them is kept in the holder for the next one.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "mount/cached_layer.hpp"
#include "mount/descriptor_keeper.hpp"
#include "mount/fuse_loop.hpp"
#include "mount/fuse_session.hpp"
#include "mount/lazy_core.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

namespace hearth::mount {

/// Thread-safe. A mount is served until nobody has it any more, also after we gave up our own descriptor of it.
///
/// In the holder, for each: imagefs/fuse/<hex>-<id_base>-<random>/dev (the connection), /init (FUSE_INIT as the kernel
/// said it) and /mount.
class FuseMounts {
 public:
  FuseMounts(LazyCore& core, DescriptorKeeper& keeper) : core_(core), keeper_(keeper) {}
  ~FuseMounts();
  FuseMounts(const FuseMounts&) = delete;
  FuseMounts& operator=(const FuseMounts&) = delete;

  /// Takes over what an earlier imagefs served, and begins to serve.
  Result<> start();
  /// No request is answered any more: what waits is left to the next imagefs.
  void stop();

  /// A clone of the layer's mount; empty when there is none. Asked for now.
  struct Found {
    UniqueFd mount;
    std::shared_ptr<CachedLayer> layer;
  };
  Result<Found> find(const Digest& layer, uint32_t id_base);
  Result<> make(const std::shared_ptr<CachedLayer>& layer, uint32_t id_base);

  /// Bytes of these pages were found wrong, or are right again: what the kernel has cached of them is forgotten.
  void on_rot(const PackFile& pack, const PageRange& pages);

  /// Once a second: read-ahead as it suits what has come, and mounts given up that nobody asked for in a long time when
  /// the cache is full or garbage collection wants the layer back.
  void keep_house();

 private:
  struct Mount {
    std::string name;  // of its part of the holder
    std::shared_ptr<CachedLayer> layer;
    std::shared_ptr<FuseSession> session;
    UniqueFd init;
    UniqueFd index;          // keeps the layer's index from being evicted
    UniqueFd mount;          // empty: given up
    MonoTime asked{};        // when somebody last asked for it
    bool streaming = false;  // whether the kernel reads far ahead
    bool tuned = false;
  };
  using Parts = std::map<std::string, UniqueFd>;

  FuseSessionOptions session_options(const std::shared_ptr<CachedLayer>& layer, uint32_t id_base);
  Result<> adopt(const std::string& name, Parts parts);
  Result<> serve(Mount mount);
  void forget(const FuseSession& session);
  void drop(const Mount& mount);
  static void tune_read_ahead(Mount& mount);

  LazyCore& core_;
  DescriptorKeeper& keeper_;
  std::mutex mutex_;
  std::map<const FuseSession*, Mount> mounts_;
  std::unique_ptr<FuseLoop> loop_;
};

}  // namespace hearth::mount
