#include "mount/lazy_core.hpp"

#include "base/log.hpp"
#include "blob/pack_mirror.hpp"
#include "blob/range_reader.hpp"

#include <unistd.h>

#include <string>
#include <utility>

namespace hearth::mount {

namespace {

Result<std::unique_ptr<StoreTier>> open_store_tier(const LazyOptions& options, std::shared_ptr<blob::ObjectStore> store,
                                                   blob::BandwidthLimiter& prefetch_limit) {
  auto reader = std::make_shared<blob::RangeReader>(std::move(store));
  if (options.pack_url.empty()) {
    return std::make_unique<StoreTier>(std::move(reader), StoreTier::Options{.prefetch_limit = &prefetch_limit});
  }
  TRY(auto mirror, blob::PackMirror::open({.url = options.pack_url, .secret_file = options.pack_url_secret}, reader));
  return std::make_unique<StoreTier>(std::move(mirror),
                                     StoreTier::Options{.has_mirror = true, .prefetch_limit = &prefetch_limit});
}

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? std::string(name) : std::string("node");
}

}  // namespace

Result<std::unique_ptr<LazyCore>> LazyCore::open(LazyOptions options, std::shared_ptr<blob::ObjectStore> store) {
  auto core = std::make_unique<LazyCore>();
  options.cache.metrics = &core->metrics_;
  TRY(core->cache_, DiskCache::open(options.cache));
  core->prefetch_limit_ = std::make_unique<blob::BandwidthLimiter>(options.prefetch_bytes_per_second);
  TRY(core->store_tier_, open_store_tier(options, store, *core->prefetch_limit_));
  TRY_VOID(core->open_peers(options));
  std::vector<ChunkTier*> tiers;
  if (core->peer_tier_) tiers.push_back(core->peer_tier_.get());
  tiers.push_back(core->store_tier_.get());
  core->expected_ = std::make_unique<ExpectedPages>();
  LazyCore* const raw = core.get();
  core->fetcher_ = std::make_unique<Fetcher>(FetcherOptions{.tiers = std::move(tiers),
                                                            .gate = core->expected_.get(),
                                                            .metrics = &core->metrics_,
                                                            .observer = [raw](const FetchEvent& event) {
                                                              if (raw->starts_) raw->starts_->fetched(event);
                                                            }});
  core->leases_ = std::make_shared<image::LayerLeases>(store, image::LeaseOptions{.holder = host_name()});
  core->layers_ = std::make_unique<LazyLayers>(store, core->cache_, core->leases_);
  core->grants_ = std::make_unique<Grants>(options.dir / "grants", store);
  core->starts_ = std::make_unique<Starts>(StartsOptions{.store = store,
                                                         .fetcher = core->fetcher_.get(),
                                                         .expected = core->expected_.get(),
                                                         .directory = options.dir / "bundles",
                                                         .metrics = &core->metrics_});
  const auto tell = [raw](const std::shared_ptr<PackFile>& pack, const PageRange& range) {
    raw->tell_rot(pack, range);
  };
  core->verifier_ = std::make_unique<CacheVerifier>(
      *core->cache_, *core->fetcher_,
      VerifierOptions{
          .scrub_every = options.scrub_every, .metrics = &core->metrics_, .on_rot = tell, .on_mended = tell});
  core->verifier_->start();
  if (options.complete == Completion::mounted) {
    core->completion_ = std::make_unique<BackgroundCompletion>(*core->cache_, *core->fetcher_, CompletionOptions{});
    core->completion_->start();
  }
  core->store_ = std::move(store);
  core->options_ = std::move(options);
  return core;
}

Result<> LazyCore::open_peers(const LazyOptions& options) {
  if (options.peers.empty() && options.peer_listen.empty()) return {};
  if (options.peer_secret.empty()) {
    return fail(ErrorCode::invalid_argument,
                "--peer and --peer-listen need the secret that nodes share: --peer-secret-file");
  }
  TRY(auto secret, PeerSecret::open(options.peer_secret));
  peer_secret_ = secret;
  if (options.peers.empty()) return {};
  TRY(peer_tier_, PeerTier::open({.peers = options.peers,
                                  .secret = std::move(secret),
                                  .store = store_tier_.get(),
                                  .node = node_,
                                  .prefetch_limit = prefetch_limit_.get(),
                                  .metrics = &metrics_}));
  return {};
}

void LazyCore::serve_peers() {
  if (options_.peer_listen.empty()) return;
  auto server = PeerServer::start({.listen = options_.peer_listen,
                                   .secret = *peer_secret_,
                                   .node = node_,
                                   .is_busy = [this] { return fetcher_->has_demand(); },
                                   .metrics = &metrics_},
                                  cache_);
  if (server) {
    peer_server_ = std::move(*server);
  } else {
    log_error("other nodes are not served", {{"error", server.error().message}});
  }
}

void LazyCore::expect_readers() {
  if (completion_) completion_->expect_readers();
}

void LazyCore::on_rot(OnRot call) {
  const std::lock_guard lock(rot_mutex_);
  on_rot_ = std::move(call);
}

void LazyCore::tell_rot(const std::shared_ptr<PackFile>& pack, const PageRange& range) {
  const std::lock_guard lock(rot_mutex_);
  if (on_rot_) on_rot_(pack, range);
}

LazyCore::~LazyCore() {
  peer_server_.reset();
  if (fetcher_) fetcher_->stop();
  if (completion_) completion_->stop();
  if (verifier_) verifier_->stop();
}

}  // namespace hearth::mount
