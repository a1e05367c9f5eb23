// What the lazy back ends share: the cache, the fetcher, the layers that are open, and what is fetched ahead for them.
#pragma once

#include "base/clock.hpp"
#include "base/metrics.hpp"
#include "base/random_id.hpp"
#include "base/result.hpp"
#include "blob/bandwidth_limiter.hpp"
#include "blob/object_store.hpp"
#include "mount/background_completion.hpp"
#include "mount/cache_verifier.hpp"
#include "mount/completion.hpp"
#include "mount/disk_cache.hpp"
#include "mount/expected_pages.hpp"
#include "mount/fetcher.hpp"
#include "mount/grants.hpp"
#include "mount/lazy_layers.hpp"
#include "mount/peer_server.hpp"
#include "mount/peer_tier.hpp"
#include "mount/starts.hpp"
#include "mount/store_tier.hpp"

#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace hearth::mount {

struct LazyOptions {
  std::filesystem::path dir;  // grants
  CacheOptions cache;
  Duration read_deadline = seconds(60);    // after which a read that cannot be served fails with EIO
  std::string pack_url;                    // a CDN or HTTP cache that is asked for packs before the store; empty: none
  std::filesystem::path pack_url_secret;   // signs its URLs; empty: they are not signed
  std::string peer_listen;                 // HOST:PORT where other nodes are served; empty: nowhere
  std::vector<std::string> peers;          // HOST:PORT of nodes that are asked before the store
  std::filesystem::path peer_secret;       // that all of them share; needed with either
  uint64_t prefetch_bytes_per_second = 0;  // of what no reader waits for; 0: as fast as it goes
  Completion complete = Completion::mounted;
  Duration scrub_every = std::chrono::hours(24);  // a complete pack is read again and compared
};

/// When bytes of a mounted layer were found wrong on disk, and when they have been written again.
using OnRot = std::function<void(const std::shared_ptr<PackFile>&, const PageRange&)>;

/// Thread-safe.
class LazyCore {
 public:
  ~LazyCore();
  static Result<std::unique_ptr<LazyCore>> open(LazyOptions options, std::shared_ptr<blob::ObjectStore> store);

  const LazyOptions& options() const { return options_; }
  DiskCache& cache() { return *cache_; }
  Fetcher& fetcher() { return *fetcher_; }
  LazyLayers& layers() { return *layers_; }
  /// Which layers are open is told to garbage collection, and it tells which it would like to have back.
  image::LayerLeases& leases() { return *leases_; }
  const Grants& grants() const { return *grants_; }
  Starts& starts() { return *starts_; }
  MetricRegistry& metrics() { return metrics_; }
  /// A layer is mounted: a moment is left to its readers before anything is fetched that nobody waits for.
  void expect_readers();
  /// Serves other nodes, if that is asked for. To be called when what an earlier process had open has been taken over.
  /// A failure costs others time and us nothing: it is logged.
  void serve_peers();
  /// Replaces an earlier one. Called on a thread of low priority, before wrong bytes are fetched again, and after.
  void on_rot(OnRot call);

 private:
  Result<> open_peers(const LazyOptions& options);
  void tell_rot(const std::shared_ptr<PackFile>& pack, const PageRange& range);

  MetricRegistry metrics_;
  LazyOptions options_;
  std::shared_ptr<blob::ObjectStore> store_;
  std::shared_ptr<DiskCache> cache_;
  std::unique_ptr<blob::BandwidthLimiter> prefetch_limit_;
  std::unique_ptr<StoreTier> store_tier_;
  uint64_t node_ = random_u64();
  std::optional<PeerSecret> peer_secret_;
  std::unique_ptr<PeerTier> peer_tier_;  // null: no peers
  std::unique_ptr<ExpectedPages> expected_;
  std::unique_ptr<Fetcher> fetcher_;
  std::unique_ptr<CacheVerifier> verifier_;
  std::unique_ptr<BackgroundCompletion> completion_;  // null: layers stay incomplete
  std::shared_ptr<image::LayerLeases> leases_;
  std::unique_ptr<LazyLayers> layers_;
  std::unique_ptr<Grants> grants_;
  std::unique_ptr<Starts> starts_;
  std::unique_ptr<PeerServer> peer_server_;
  std::mutex rot_mutex_;
  OnRot on_rot_;
};

}  // namespace hearth::mount
