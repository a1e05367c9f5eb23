#include "mount/erofs_backend.hpp"

#include "base/fanotify.hpp"
#include "base/file.hpp"
#include "base/log.hpp"
#include "image/erofs_image.hpp"
#include "mount/erofs_mount.hpp"
#include "mount/holder_link.hpp"
#include "mount/mount_ledger.hpp"

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <unordered_map>
#include <utility>

namespace hearth::mount {

namespace {

constexpr std::string_view kMetadataFile = "erofs";
constexpr seconds kHousekeepingEvery{1};

/// In the order of the index, which is the order of the mount's devices.
std::vector<std::shared_ptr<PackFile>> packs_of(const CachedLayer& layer) {
  std::vector<std::shared_ptr<PackFile>> packs;
  for (uint32_t number = 0; number < layer.index().pack_count(); ++number) packs.push_back(layer.pack(number));
  return packs;
}

/// The errno a reader sees when its bytes cannot be had.
uint32_t errno_of(const Error& error) {
  return error.code == ErrorCode::exhausted ? ENOSPC : EIO;
}

/// A mounted layer.
struct Mounted {
  std::shared_ptr<CachedLayer> layer;
  UniqueFd mount;
};

}  // namespace

struct ErofsBackend::State {
  std::unique_ptr<LazyCore> core;
  std::unique_ptr<HolderLink> holder;
  std::unique_ptr<MountLedger> ledger;
  std::atomic<bool> stopping{false};

  std::mutex mutex;
  std::condition_variable changed;
  std::set<std::string> mounting;                     // digests (hex) that a thread is mounting now
  std::map<std::string, Mounted> mounted;             // by digest (hex)
  std::vector<std::shared_ptr<CachedLayer>> orphans;  // mounted by somebody whose mount is not ours any more

  std::mutex packs_mutex;
  std::unordered_map<uint64_t, std::shared_ptr<PackFile>> packs;  // whose events we answer
  std::set<uint64_t> marked;                                      // those that carry a mark

  std::jthread housekeeper;

  Result<> inherit();
  std::vector<LedgerEntry> lost_layers(const Inheritance& inheritance) const;
  Result<> enter_in_ledger(const CachedLayer& layer) const;
  Result<Mounted> mount(const LayerQuestion& question);
  Result<UniqueFd> metadata(const CachedLayer& layer) const;
  Result<> watch(const std::shared_ptr<PackFile>& pack);
  void on_event(const holder::Event& event);
  void keep_house();
  Result<UniqueFd> clone(const Mounted& layer) const;
};

/// Takes over what an earlier imagefs had mounted: its readers wait for us.
Result<> ErofsBackend::State::inherit() {
  TRY(auto inheritance, holder->inherit());
  const auto lost = lost_layers(inheritance);
  std::vector<LedgerPack> lost_packs;
  for (const LedgerEntry& entry : lost) lost_packs.insert(lost_packs.end(), entry.packs.begin(), entry.packs.end());
  core->layers().inherit(std::move(inheritance.packs));
  core->layers().inherit(holder->recover(lost_packs));
  for (auto& [digest, fd] : inheritance.mounts) {
    auto layer = core->layers().reopen(digest);
    if (!layer) {
      log_error("a mounted layer is not taken over: what it lacks cannot be read",
                {{"layer", digest.hex()}, {"error", layer.error().message}});
      continue;
    }
    for (const auto& pack : packs_of(**layer)) TRY_VOID(watch(pack));
    TRY_VOID(holder->keep_mount(digest, fd.get()));
    mounted[digest.hex()] = {std::move(*layer), std::move(fd)};
  }
  for (const LedgerEntry& entry : lost) {
    auto layer = core->layers().reopen(entry.layer);
    if (!layer) {
      log_error("a mounted layer is not had back", {{"layer", entry.layer.hex()}, {"error", layer.error().message}});
      continue;
    }
    for (const auto& pack : packs_of(**layer)) TRY_VOID(watch(pack));
    orphans.push_back(std::move(*layer));
  }
  if (!mounted.empty()) log_info("mounted layers taken over", {{"layers", mounted.size()}});
  if (!orphans.empty()) log_info("layers had back of which the mounts were lost", {{"layers", orphans.size()}});
  return {};
}

/// Mounted in this boot, by the ledger, but not to be had from the holder.
std::vector<LedgerEntry> ErofsBackend::State::lost_layers(const Inheritance& inheritance) const {
  std::vector<LedgerEntry> lost = ledger->entries();
  std::erase_if(lost, [&inheritance](const LedgerEntry& entry) {
    return std::ranges::any_of(inheritance.mounts, [&entry](const auto& kept) { return kept.first == entry.layer; });
  });
  return lost;
}

/// In this order: the fill descriptor is open already, then the mark, then whoever mounts the file.
Result<> ErofsBackend::State::watch(const std::shared_ptr<PackFile>& pack) {
  const uint64_t token = pack_token(pack->digest());
  const std::lock_guard lock(packs_mutex);
  const auto [known, fresh] = packs.emplace(token, pack);
  if (!fresh && known->second != pack) {
    if (known->second->digest() != pack->digest()) return fail(ErrorCode::internal, "two packs have one token");
    known->second = pack;
    marked.erase(token);
  }
  if (pack->complete() || marked.contains(token)) return {};  // what is complete costs nothing
  TRY_VOID(holder->keep_pack(pack, holder::Observe::no));
  TRY_VOID(fanotify::mark(holder->group(), pack->data_fd()));
  marked.insert(token);
  return {};
}

/// Made anew for each mount: what lies on the disk is never trusted.
Result<UniqueFd> ErofsBackend::State::metadata(const CachedLayer& layer) const {
  TRY(const auto path, core->cache().layer_path(layer.index().digest(), kMetadataFile));
  ::unlink(path.c_str());  // an earlier mount keeps its own
  TRY(auto file, open_file(path, O_RDWR | O_CREAT | O_EXCL, 0600));
  TRY_VOID(image::write_erofs(layer.index(), file.get()));
  return file;
}

Result<> ErofsBackend::State::enter_in_ledger(const CachedLayer& layer) const {
  LedgerEntry entry{.layer = layer.index().digest(), .packs = {}};
  for (const auto& pack : packs_of(layer)) {
    std::error_code error;
    auto path = std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(pack->data_fd()), error);
    if (error) return fail_errno("find the file of a pack", error.value());
    entry.packs.push_back({pack->digest(), std::move(path), pack->plain_size()});
  }
  return ledger->enter(entry);
}

Result<Mounted> ErofsBackend::State::mount(const LayerQuestion& question) {
  const auto began = mono_now();
  TRY(auto layer, core->layers().open(question.workspace, question.digest));
  TRY(const auto image, metadata(*layer));
  std::vector<int> devices;
  for (const auto& pack : packs_of(*layer)) {
    TRY_VOID(watch(pack));
    devices.push_back(pack->data_fd());
  }
  TRY_VOID(enter_in_ledger(*layer));
  Mounted result{.layer = layer, .mount = {}};
  TRY(result.mount, mount_erofs(image.get(), devices));
  if (auto set = set_erofs_read_ahead(result.mount.get(), core->options().read_ahead_kib); !set) {
    log_warning("read-ahead stays as the kernel has it", {{"error", set.error().message}});
  }
  TRY_VOID(holder->keep_mount(question.digest, result.mount.get()));
  log_info("layer mounted", {{"layer", question.digest.hex().substr(0, 12)},
                             {"packs", devices.size()},
                             {"us", std::chrono::duration_cast<microseconds>(mono_now() - began).count()}});
  return result;
}

void ErofsBackend::State::on_event(const holder::Event& event) {
  if (event.sequence == 0) return;  // told only
  std::shared_ptr<PackFile> pack;
  {
    const std::lock_guard lock(packs_mutex);
    const auto found = packs.find(event.token);
    if (found != packs.end()) pack = found->second;
  }
  if (!pack) {
    log_error("a read of a pack that is not known fails");
    return holder->answer(event.sequence, EIO);
  }
  core->fetcher().fill({.pack = pack,
                        .offset = event.offset,
                        .length = event.length,
                        .deadline = Deadline::after(mono_now(), core->options().read_deadline)},
                       [this, sequence = event.sequence, pack](const Result<>& filled) {
                         if (!filled) {
                           log_warning("a read fails", {{"pack", pack->digest().hex().substr(0, 12)},
                                                        {"error", filled.error().message}});
                         }
                         holder->answer(sequence, filled ? 0 : errno_of(filled.error()));
                       });
}

/// Packs that have become complete lose their marks: from then on they cost nothing.
void ErofsBackend::State::keep_house() {
  const std::lock_guard lock(packs_mutex);
  for (auto at = marked.begin(); at != marked.end();) {
    const auto& pack = packs.at(*at);
    if (!pack->complete()) {
      ++at;
      continue;
    }
    if (auto unmarked = fanotify::unmark(holder->group(), pack->data_fd()); !unmarked) {
      log_warning("a complete pack keeps its mark", {{"error", unmarked.error().message}});
      ++at;
      continue;
    }
    log_info("pack complete", {{"pack", pack->digest().hex().substr(0, 12)}});
    at = marked.erase(at);
  }
}

Result<UniqueFd> ErofsBackend::State::clone(const Mounted& layer) const {
  UniqueFd copy(::open_tree(layer.mount.get(), "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH));
  if (!copy) return fail_errno("clone a layer's mount", errno);
  return copy;
}

ErofsBackend::ErofsBackend(std::unique_ptr<State> state) : state_(std::move(state)) {}

ErofsBackend::~ErofsBackend() {
  stop();
}

Result<std::unique_ptr<ErofsBackend>> ErofsBackend::open(std::unique_ptr<LazyCore> core,
                                                         std::unique_ptr<HolderLink> holder) {
  auto state = std::make_unique<State>();
  state->core = std::move(core);
  state->holder = std::move(holder);
  state->ledger = std::make_unique<MountLedger>(state->core->options().dir / "mounted");
  TRY_VOID(state->inherit());
  State* const raw = state.get();
  state->holder->start([raw](const holder::Event& event) { raw->on_event(event); });
  state->housekeeper = std::jthread([raw](const std::stop_token& stop) {
    std::unique_lock lock(raw->mutex);
    while (!stop.stop_requested()) {
      raw->changed.wait_for(lock, kHousekeepingEvery);
      lock.unlock();
      raw->keep_house();
      lock.lock();
    }
  });
  return std::unique_ptr<ErofsBackend>(new ErofsBackend(std::move(state)));
}

Result<UniqueFd> ErofsBackend::mount_layer(const LayerQuestion& question, const ProgressSink& /*progress*/) {
  State& state = *state_;
  if (state.stopping) return fail(ErrorCode::cancelled, "imagefs is stopping");
  TRY_VOID(state.core->grants().check(question.workspace, question.digest));
  const std::string hex = question.digest.hex();
  std::unique_lock lock(state.mutex);
  state.changed.wait(lock, [&state, &hex] { return !state.mounting.contains(hex); });
  if (const auto found = state.mounted.find(hex); found != state.mounted.end()) return state.clone(found->second);
  state.mounting.insert(hex);
  lock.unlock();
  auto mounted = state.mount(question);
  lock.lock();
  state.mounting.erase(hex);
  state.changed.notify_all();
  if (!mounted) return fail_with_context("mount layer " + question.digest.to_string(), mounted.error());
  const auto [at, fresh] = state.mounted.emplace(hex, std::move(*mounted));
  return state.clone(at->second);
}

void ErofsBackend::stop() {
  state_->stopping = true;
  state_->housekeeper.request_stop();
  state_->changed.notify_all();
}

}  // namespace hearth::mount
