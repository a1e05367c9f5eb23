#include "mount/backends.hpp"

#include "base/clock.hpp"
#include "base/log.hpp"
#include "holder/client.hpp"
#include "mount/backend_probe.hpp"
#include "mount/descriptor_keeper.hpp"
#include "mount/erofs_backend.hpp"
#include "mount/fuse_backend.hpp"
#include "mount/holder_link.hpp"
#include "mount/peer_message.hpp"
#include "mount/unpack_backend.hpp"

#include <array>
#include <thread>
#include <utility>

namespace hearth::mount {

namespace {

using Opened = Result<std::unique_ptr<LayerBackend>>;
using Store = std::shared_ptr<blob::ObjectStore>;

LazyOptions lazy_options(const Config& config, const std::string& epoch) {
  LazyOptions options{.dir = config.dir, .cache = {}, .read_deadline = config.read_deadline};
  options.cache.dirs = config.cache_dirs;
  if (options.cache.dirs.empty()) options.cache.dirs.push_back(config.dir / "cache");
  options.cache.max_bytes = config.cache_bytes;
  options.cache.min_free_bytes = config.cache_min_free_bytes;
  options.cache.epoch = epoch;
  options.pack_url = config.pack_url;
  options.pack_url_secret = config.pack_url_secret;
  options.peer_listen = config.peer_listen;
  options.peers = config.peers;
  options.peer_secret = config.peer_secret;
  options.prefetch_bytes_per_second = config.prefetch_bytes_per_second;
  options.complete = config.complete;
  options.scrub_every = config.scrub_every;
  return options;
}

constexpr seconds kHolderTime{20};  // in which a holder that was killed is back
constexpr milliseconds kHolderPause{20};

/// What this host and configuration can do. That the holder is away for a moment says nothing about it.
Result<> check_holder(const Config& config) {
  if (!config.holder.empty()) return {};
  return fail(ErrorCode::unavailable, "lazy images need the holder, which survives imagefs (--holder)");
}

Result<> can_erofs(const Config& config) {
  TRY_VOID(probe_erofs(config.cache_dirs.empty() ? config.dir : config.cache_dirs.front()));
  return check_holder(config);
}

Result<> can_fuse(const Config& config) {
  TRY_VOID(probe_fuse());
  return check_holder(config);
}

Result<> can_unpack(const Config& /*config*/) {
  return {};
}

Result<> wait_for_holder(const Config& config) {
  const auto until = mono_now() + kHolderTime;
  for (;;) {
    auto answer = holder::Client(config.holder).process();
    if (answer) return {};
    if (mono_now() >= until) return Unexpected(answer.error());
    std::this_thread::sleep_for(kHolderPause);
  }
}

Opened open_erofs(const Config& config, const Store& store) {
  TRY_VOID(wait_for_holder(config));
  TRY(auto holder, HolderLink::open(config.holder));
  TRY(auto core, LazyCore::open(lazy_options(config, holder->epoch()), store));
  TRY(auto backend, ErofsBackend::open(std::move(core), std::move(holder)));
  return backend;
}

Opened open_fuse(const Config& config, const Store& store) {
  TRY_VOID(wait_for_holder(config));
  TRY(auto keeper, DescriptorKeeper::open(config.holder));
  TRY(auto core, LazyCore::open(lazy_options(config, keeper->epoch()), store));
  TRY(auto backend, FuseBackend::open(std::move(core), std::move(keeper)));
  return backend;
}

Opened open_unpack(const Config& config, const Store& store) {
  TRY(auto backend, UnpackBackend::open(config.dir, store));
  return backend;
}

/// Before a back end is chosen: a wrong setting is no reason to take another one.
Result<> check_peers(const Config& config) {
  if (config.peers.empty() && config.peer_listen.empty()) return {};
  if (config.peer_secret.empty()) {
    return fail(ErrorCode::invalid_argument,
                "--peer and --peer-listen need the secret that nodes share: --peer-secret-file");
  }
  TRY_VOID(PeerSecret::open(config.peer_secret));
  return {};
}

struct Choice {
  std::string_view name;
  Result<> (*possible)(const Config&);
  Opened (*open)(const Config&, const Store&);
};
constexpr std::array kChoices{Choice{"erofs", can_erofs, open_erofs}, Choice{"fuse", can_fuse, open_fuse},
                              Choice{"unpack", can_unpack, open_unpack}};

}  // namespace

/// The choice is the host's, not the moment's: readers of mounts that an earlier imagefs made wait for the same back
/// end, and would wait in vain for another.
Result<std::unique_ptr<LayerBackend>> open_backend(const Config& config,
                                                   const std::shared_ptr<blob::ObjectStore>& store) {
  TRY_VOID(check_peers(config));
  std::string known = "auto";
  for (const Choice& choice : kChoices) {
    known += ", " + std::string(choice.name);
    if (config.backend != "auto" && config.backend != choice.name) continue;
    const auto possible = choice.possible(config);
    if (possible) return choice.open(config, store);
    if (config.backend == choice.name) return Unexpected(possible.error());
    log_info("an image back end cannot be used here", {{"backend", choice.name}, {"reason", possible.error().message}});
  }
  return fail(ErrorCode::invalid_argument, "unknown image back end \"" + config.backend + "\"; known: " + known);
}

}  // namespace hearth::mount
