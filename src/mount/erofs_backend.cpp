#include "mount/erofs_backend.hpp"

#include "base/file.hpp"
#include "base/log.hpp"
#include "image/erofs_image.hpp"
#include "mount/data_file_cache.hpp"
#include "mount/erofs_mount.hpp"
#include "mount/holder_link.hpp"
#include "mount/mount_ledger.hpp"
#include "mount/mounted_pages.hpp"
#include "mount/unused_file.hpp"
#include "mount/watched_packs.hpp"

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <iterator>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <utility>

namespace hearth::mount {

namespace {

constexpr std::string_view kMetadataFile = "erofs";
constexpr seconds kHousekeepingEvery{1};
constexpr seconds kReleaseEvery{10};
constexpr seconds kChooseReadsEvery{5};
constexpr Duration kKeepFor = std::chrono::minutes(5);  // a layer that was just asked for is about to be used

/// In the order of the index, which is the order of the mount's devices.
std::vector<std::shared_ptr<PackFile>> packs_of(const CachedLayer& layer) {
  std::vector<std::shared_ptr<PackFile>> packs;
  packs.reserve(layer.index().pack_count());
  for (uint32_t number = 0; number < layer.index().pack_count(); ++number) packs.push_back(layer.pack(number));
  return packs;
}

/// The errno a reader sees when its bytes cannot be had.
uint32_t errno_of(const Error& error) {
  return error.code == ErrorCode::exhausted ? ENOSPC : EIO;
}

/// How far the kernel reads ahead. While content comes on demand every page of a window is a page that must be fetched
/// before the reader goes on: TensorFlow's import then asks for 345 MB with the kernel's own 128 KiB, for 275 MB with
/// 32, for 217 MB with none, in 7,500, 13,000 and 55,600 events (docs/benchmarks-lazy.md). For few large files that are
/// read from end to end a large window costs nothing and saves calls. Once all is here the window is a huge page's: the
/// page cache then holds large files in such pages, and a mapping needs one fault for each.
constexpr uint32_t kScatteredReadAheadKib = 32;
constexpr uint32_t kStreamingReadAheadKib = 1024;
constexpr uint32_t kCompleteReadAheadKib = 2048;
constexpr uint64_t kLargeFileBytes = uint64_t{4} << 20;
/// Of a complete layer's data files: as long as so much of them is in memory it is cheaper to copy than to read.
constexpr uint64_t kMostlyCachedPercent = 88;
constexpr std::string_view kRotMappedHelp = "Wrong bytes that stayed in the page cache, mapped by a process";

/// A mounted layer.
struct Mounted {
  std::shared_ptr<CachedLayer> layer;
  UniqueFd mount;
  MonoTime asked = mono_now();  // when somebody last asked for it
  uint32_t read_ahead_kib = 0;  // 0: as an earlier imagefs or the kernel has set it
  std::optional<bool> direct;   // whether data files are read past their page cache; empty: not known
};

uint32_t read_ahead_of(const CachedLayer& layer) {
  if (layer.complete()) return kCompleteReadAheadKib;
  const image::LayerIndex& index = layer.index();
  return index.content_bytes() / index.inode_count() > kLargeFileBytes ? kStreamingReadAheadKib
                                                                       : kScatteredReadAheadKib;
}

void tune_read_ahead(Mounted& mounted) {
  const uint32_t kib = read_ahead_of(*mounted.layer);
  if (kib == mounted.read_ahead_kib) return;
  mounted.read_ahead_kib = kib;
  if (auto set = set_erofs_read_ahead(mounted.mount.get(), kib); !set) {
    log_warning("read-ahead stays as the kernel has it", {{"error", set.error().message}});
  }
}

/// What was just fetched lies in the page cache of the data files; once it has left it, reads of a complete layer are
/// direct. Not before the layer is complete: a direct read of what was just filled in waits until the disk has it.
bool should_read_directly(const Mounted& mounted) {
  if (!mounted.layer->complete()) return false;
  if (mounted.direct == true) return true;
  CachedPages all;
  for (const auto& pack : packs_of(*mounted.layer)) {
    if (!can_be_read_directly(pack->data_fd())) return false;
    const CachedPages some = sample_page_cache(pack->data_fd(), pack->plain_size());
    all.looked_at += some.looked_at;
    all.cached += some.cached;
  }
  return all.cached * 100 < all.looked_at * kMostlyCachedPercent;
}

/// What an earlier imagefs has chosen stays until the layer is complete: most likely the page cache, and right anyway.
void choose_reads(Mounted& mounted) {
  const bool direct = should_read_directly(mounted);
  if (mounted.direct == direct || (!mounted.direct && !mounted.layer->complete())) return;
  mounted.direct = direct;
  if (auto set = set_erofs_direct_reads(mounted.mount.get(), direct); !set) {
    log_warning("a layer is read as before", {{"error", set.error().message}});
  }
}

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

  std::unique_ptr<WatchedPacks> packs;
  std::jthread housekeeper;
  MonoTime release_at{};  // housekeeper's alone
  MonoTime choose_reads_at{};

  Result<> inherit();
  std::vector<LedgerEntry> lost_layers(const Inheritance& inheritance) const;
  Result<> enter_in_ledger(const CachedLayer& layer) const;
  Result<Mounted> mount(const LayerQuestion& question);
  Result<UniqueFd> metadata(const CachedLayer& layer) const;
  void on_event(const holder::Event& event);
  void on_rot(const std::shared_ptr<PackFile>& pack, const PageRange& range);
  std::string metrics();
  void keep_house();
  void release_unused();
  bool release(const std::shared_ptr<CachedLayer>& layer);
  Result<UniqueFd> clone(const Mounted& layer) const;
};

/// Takes over what an earlier imagefs had mounted: its readers wait for us.
Result<> ErofsBackend::State::inherit() {
  TRY(auto inheritance, holder->inherit());
  const auto lost = lost_layers(inheritance);
  std::vector<LedgerPack> lost_packs;
  for (const LedgerEntry& entry : lost) {
    std::ranges::copy_if(entry.packs, std::back_inserter(lost_packs), [&inheritance](const LedgerPack& pack) {
      return std::ranges::none_of(inheritance.packs, [&pack](const auto& kept) { return kept.first == pack.digest; });
    });
  }
  core->layers().inherit(std::move(inheritance.packs));
  core->layers().inherit(holder->recover(lost_packs));
  for (auto& [digest, fd] : inheritance.mounts) {
    auto layer = core->layers().reopen(digest);
    if (!layer) {
      log_error("a mounted layer is not taken over: what it lacks cannot be read",
                {{"layer", digest.hex()}, {"error", layer.error().message}});
      continue;
    }
    for (const auto& pack : packs_of(**layer)) TRY_VOID(packs->watch(pack, holder::Observe::no));
    TRY_VOID(holder->keep_mount(digest, fd.get()));
    mounted[digest.hex()] = {std::move(*layer), std::move(fd)};
  }
  for (const LedgerEntry& entry : lost) {
    auto layer = core->layers().reopen(entry.layer);
    if (!layer) {
      log_error("a mounted layer is not had back", {{"layer", entry.layer.hex()}, {"error", layer.error().message}});
      continue;
    }
    for (const auto& pack : packs_of(**layer)) TRY_VOID(packs->watch(pack, holder::Observe::no));
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
  core->expect_readers();
  auto bundle = core->starts().look(question, core->layers().knows(question.digest));
  TRY(auto layer, core->layers().open(question.workspace, question.digest));
  const bool recorded = core->starts().begin(question, layer, std::move(bundle), MountedFor::this_start);
  TRY(const auto image, metadata(*layer));
  std::vector<int> devices;
  for (const auto& pack : packs_of(*layer)) {
    TRY_VOID(packs->watch(pack, recorded ? holder::Observe::yes : holder::Observe::no));
    devices.push_back(pack->data_fd());
  }
  TRY_VOID(enter_in_ledger(*layer));
  Mounted result{.layer = layer, .mount = {}, .direct = false};
  TRY(result.mount, mount_erofs(image.get(), devices));
  tune_read_ahead(result);
  TRY_VOID(holder->keep_mount(question.digest, result.mount.get()));
  log_info("layer mounted", {{"layer", question.digest.hex().substr(0, 12)},
                             {"packs", devices.size()},
                             {"us", std::chrono::duration_cast<microseconds>(mono_now() - began).count()}});
  return result;
}

void ErofsBackend::State::on_event(const holder::Event& event) {
  const auto pack = packs->find(event.token);
  if (event.sequence == 0) {  // told only
    if (pack) core->starts().hit(pack->digest(), pages_of(event.offset, event.length));
    return;
  }
  if (!pack) {
    log_error("a read of a pack that is not known fails");
    return holder->answer(event.sequence, EIO);
  }
  core->starts().asked(pack->digest(), pages_of(event.offset, event.length));
  core->fetcher().fill({.pack = pack,
                        .offset = event.offset,
                        .length = event.length,
                        .deadline = Deadline::after(mono_now(), core->options().read_deadline)},
                       [this, event, pack, asked = mono_now()](const Result<>& filled) {
                         // We are stopping: the reader waits for our successor.
                         if (!filled && filled.error().code == ErrorCode::cancelled) return;
                         if (!filled) {
                           log_warning("a read fails", {{"pack", pack->digest().hex().substr(0, 12)},
                                                        {"error", filled.error().message}});
                         }
                         holder->answer(event.sequence, filled ? 0 : errno_of(filled.error()));
                         core->starts().waited(pack->digest(), pages_of(event.offset, event.length), asked, mono_now());
                       });
}

/// Its readers wait from now on until the bytes are right again; what the kernel has cached is forgotten.
void ErofsBackend::State::on_rot(const std::shared_ptr<PackFile>& pack, const PageRange& range) {
  if (auto marked = packs->mark_again(pack); !marked) {
    log_error("readers of a rotten pack do not wait for its repair", {{"error", marked.error().message}});
  }
  std::vector<std::pair<std::shared_ptr<CachedLayer>, UniqueFd>> layers;
  {
    const std::lock_guard lock(mutex);
    for (const auto& [hex, layer] : mounted) {
      const auto all = packs_of(*layer.layer);
      if (std::ranges::find(all, pack) == all.end()) continue;
      if (auto copy = clone(layer)) layers.emplace_back(layer.layer, std::move(*copy));
    }
  }
  for (const auto& [layer, mount] : layers) {
    const uint64_t left = forget_cached_pages(mount.get(), layer->index(), pack->digest(), range);
    if (left == 0 || pack->present(range.offset, range.length)) continue;  // right ones, read again meanwhile
    core->metrics().counter("hearth_imagefs_rot_mapped_bytes_total", kRotMappedHelp).add(left);
    log_error("a process has rotten bytes mapped: restart what uses this layer",
              {{"layer", layer->index().digest().hex().substr(0, 12)}, {"bytes", left}});
  }
}

/// Of a holder that is gone nothing is told.
std::string ErofsBackend::State::metrics() {
  {
    const std::lock_guard lock(mutex);
    core->metrics()
        .gauge("hearth_imagefs_mounted_layers", "Layers that are mounted")
        .set(static_cast<int64_t>(mounted.size()));
  }
  for (const auto& [name, value] : holder->counts()) {
    core->metrics()
        .gauge("hearth_holder_count", "What the holder counts (docs/formats/holder.md)", {{"of", name}})
        .set(static_cast<int64_t>(value));
  }
  return core->metrics().expose();
}

void ErofsBackend::State::keep_house() {
  packs->unmark_complete();
  core->starts().end_overdue(mono_now());
  {
    const std::lock_guard lock(mutex);
    const bool choose = mono_now() >= choose_reads_at;
    if (choose) choose_reads_at = mono_now() + kChooseReadsEvery;
    for (auto& [hex, layer] : mounted) {
      tune_read_ahead(layer);
      if (choose) choose_reads(layer);
    }
  }
  if (mono_now() < release_at) return;
  release_at = mono_now() + kReleaseEvery;
  release_unused();
}

/// When a disk of the cache is full of what mounted layers need, or garbage collection wants to have a layer back:
/// those go that nobody has mounted but we. The kernel tells only once our own mounts are closed; who has it mounted
/// keeps it, and is served as before.
void ErofsBackend::State::release_unused() {
  std::vector<Mounted> given_up;
  {
    const std::lock_guard lock(mutex);
    for (auto at = mounted.begin(); at != mounted.end();) {
      const auto& packs_here = packs_of(*at->second.layer);
      const bool tight = std::ranges::any_of(packs_here, [](const auto& pack) { return !pack->room_for_prefetch(); });
      const bool wanted_back = core->leases().is_wanted_back(at->second.layer->index().digest());
      if ((!tight && !wanted_back) || mono_now() - at->second.asked < kKeepFor) {
        ++at;
        continue;
      }
      given_up.push_back(std::move(at->second));
      at = mounted.erase(at);
    }
  }
  for (Mounted& layer : given_up) {
    holder->drop_mount(layer.layer->index().digest());
    layer.mount.reset();
    orphans.push_back(std::move(layer.layer));
  }
  std::erase_if(orphans, [this](const auto& layer) { return release(layer); });
}

/// Whether nobody has the layer mounted, so that it was let go.
bool ErofsBackend::State::release(const std::shared_ptr<CachedLayer>& layer) {
  const Digest digest = layer->index().digest();
  const auto path = core->cache().layer_path(digest, kMetadataFile);
  if (!path || !prove_unused(*path)) return false;
  std::set<const PackFile*> needed;
  {
    const std::lock_guard lock(mutex);
    if (mounted.contains(digest.hex()) || mounting.contains(digest.hex())) return true;  // asked for again meanwhile
    for (const auto& [hex, other] : mounted) {
      for (const auto& pack : packs_of(*other.layer)) needed.insert(pack.get());
    }
  }
  for (const auto& other : orphans) {
    if (other == layer) continue;
    for (const auto& pack : packs_of(*other)) needed.insert(pack.get());
  }
  for (const auto& pack : packs_of(*layer)) {
    if (!needed.contains(pack.get())) packs->forget(pack);
  }
  ledger->strike(digest);
  log_info("layer released", {{"layer", digest.hex().substr(0, 12)}});
  return true;
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
  state->packs = std::make_unique<WatchedPacks>(*state->holder);
  state->ledger = std::make_unique<MountLedger>(state->core->options().dir / "mounted");
  TRY_VOID(state->inherit());
  State* const raw = state.get();
  state->core->starts().on_recorded([raw](const CachedLayer& layer) {
    for (const auto& pack : packs_of(layer)) raw->packs->stop_observing(pack);
  });
  state->core->on_rot(
      [raw](const std::shared_ptr<PackFile>& pack, const PageRange& range) { raw->on_rot(pack, range); });
  state->holder->start([raw](const holder::Event& event) { raw->on_event(event); });
  state->core->serve_peers();
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
  if (const auto found = state.mounted.find(hex); found != state.mounted.end()) {
    found->second.asked = mono_now();
    state.core->expect_readers();
    auto layer = found->second.layer;
    auto copy = state.clone(found->second);
    lock.unlock();
    if (!layer->complete()) {
      state.core->starts().begin(question, std::move(layer), state.core->starts().look(question, true),
                                 MountedFor::an_earlier_one);
    }
    return copy;
  }
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

Result<> ErofsBackend::recorded(const LayerQuestion& question) {
  state_->core->starts().recorded(question);
  return {};
}

Result<std::string> ErofsBackend::trace(const LayerQuestion& question) {
  TRY_VOID(state_->core->grants().check(question.workspace, question.digest));
  return state_->core->starts().trace(question);
}

std::string ErofsBackend::metrics() {
  return state_->metrics();
}

void ErofsBackend::stop() {
  state_->core->on_rot({});
  state_->stopping = true;
  state_->housekeeper.request_stop();
  state_->changed.notify_all();
}

}  // namespace hearth::mount
