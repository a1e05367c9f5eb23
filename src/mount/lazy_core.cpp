#include "mount/lazy_core.hpp"

#include <utility>

namespace hearth::mount {

Result<std::unique_ptr<LazyCore>> LazyCore::open(LazyOptions options, std::shared_ptr<blob::ObjectStore> store) {
  auto core = std::make_unique<LazyCore>();
  TRY(core->cache_, DiskCache::open(options.cache));
  core->store_tier_ = std::make_unique<StoreTier>(store);
  core->expected_ = std::make_unique<ExpectedPages>();
  LazyCore* const raw = core.get();
  core->fetcher_ = std::make_unique<Fetcher>(FetcherOptions{
      .tiers = {core->store_tier_.get()}, .gate = core->expected_.get(), .observer = [raw](const FetchEvent& event) {
        if (raw->starts_) raw->starts_->fetched(event);
      }});
  core->layers_ = std::make_unique<LazyLayers>(store, core->cache_);
  core->grants_ = std::make_unique<Grants>(options.dir / "grants", store);
  core->starts_ = std::make_unique<Starts>(StartsOptions{.store = store,
                                                         .fetcher = core->fetcher_.get(),
                                                         .expected = core->expected_.get(),
                                                         .directory = options.dir / "bundles"});
  core->verifier_ = std::make_unique<CacheVerifier>(*core->cache_, *core->fetcher_, VerifierOptions{});
  core->verifier_->start();
  core->store_ = std::move(store);
  core->options_ = std::move(options);
  return core;
}

LazyCore::~LazyCore() {
  if (fetcher_) fetcher_->stop();
  if (verifier_) verifier_->stop();
}

}  // namespace hearth::mount
