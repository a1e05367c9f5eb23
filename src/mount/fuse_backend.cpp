#include "mount/fuse_backend.hpp"

#include "base/log.hpp"
#include "mount/fuse_mounts.hpp"

#include <sys/resource.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>

namespace hearth::mount {

namespace {

constexpr seconds kHousekeepingEvery{1};
constexpr std::string_view kErofsPacks = "imagefs/pack/";  // holder_link.cpp

/// A mount needs four descriptors, and its packs two each.
void raise_file_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

struct FuseBackend::State {
  std::unique_ptr<LazyCore> core;
  std::unique_ptr<DescriptorKeeper> keeper;
  std::unique_ptr<FuseMounts> mounts;
  std::atomic<bool> stopping{false};

  std::mutex mutex;
  std::condition_variable changed;
  std::set<std::pair<std::string, uint32_t>> mounting;  // what a thread mounts now: digest (hex), id_base
  std::jthread housekeeper;

  Result<UniqueFd> mount(const LayerQuestion& question) const;
};

Result<UniqueFd> FuseBackend::State::mount(const LayerQuestion& question) const {
  TRY(auto found, mounts->find(question.digest, question.id_base));
  if (found.mount) {
    if (!found.layer->complete()) {
      core->starts().begin(question, std::move(found.layer), core->starts().look(question, true),
                           MountedFor::an_earlier_one);
    }
    return std::move(found.mount);
  }
  const auto began = mono_now();
  core->expect_readers();
  auto bundle = core->starts().look(question, core->layers().knows(question.digest));
  TRY(const auto layer, core->layers().open(question.workspace, question.digest));
  core->starts().begin(question, layer, std::move(bundle), MountedFor::this_start);
  TRY_VOID(mounts->make(layer, question.id_base));
  log_info("layer mounted", {{"layer", question.digest.hex().substr(0, 12)},
                             {"us", std::chrono::duration_cast<microseconds>(mono_now() - began).count()}});
  TRY(found, mounts->find(question.digest, question.id_base));
  if (!found.mount) return fail(ErrorCode::unavailable, "its connection was aborted");
  return std::move(found.mount);
}

FuseBackend::FuseBackend(std::unique_ptr<State> state) : state_(std::move(state)) {}

FuseBackend::~FuseBackend() {
  stop();
  if (state_->housekeeper.joinable()) state_->housekeeper.join();
  state_->mounts->stop();
  state_->keeper.reset();  // before what it borrows is closed
}

Result<std::unique_ptr<FuseBackend>> FuseBackend::open(std::unique_ptr<LazyCore> core,
                                                       std::unique_ptr<DescriptorKeeper> keeper) {
  TRY(const auto foreign, keeper->client().list(kErofsPacks));
  if (!foreign.empty()) {
    return fail(ErrorCode::unavailable,
                "this holder still has files of the erofs back end: FUSE can be used after Hearth was stopped");
  }
  raise_file_limit();
  auto state = std::make_unique<State>();
  state->core = std::move(core);
  state->keeper = std::move(keeper);
  state->mounts = std::make_unique<FuseMounts>(*state->core, *state->keeper);
  auto started = state->mounts->start();
  if (!started) return Unexpected(started.error());
  state->core->cache().enforce_bounds();
  State* const raw = state.get();
  state->core->on_rot(
      [raw](const std::shared_ptr<PackFile>& pack, const PageRange& pages) { raw->mounts->on_rot(*pack, pages); });
  state->core->serve_peers();
  state->housekeeper = std::jthread([raw](const std::stop_token& stop) {
    std::unique_lock lock(raw->mutex);
    while (!stop.stop_requested()) {
      raw->changed.wait_for(lock, kHousekeepingEvery);
      lock.unlock();
      raw->mounts->keep_house();
      raw->core->starts().end_overdue(mono_now());
      lock.lock();
    }
  });
  return std::unique_ptr<FuseBackend>(new FuseBackend(std::move(state)));
}

Result<UniqueFd> FuseBackend::mount_layer(const LayerQuestion& question, const ProgressSink& /*progress*/) {
  State& state = *state_;
  if (state.stopping) return fail(ErrorCode::cancelled, "imagefs is stopping");
  TRY_VOID(state.core->grants().check(question.workspace, question.digest));
  const std::pair key(question.digest.hex(), question.id_base);
  std::unique_lock lock(state.mutex);
  state.changed.wait(lock, [&state, &key] { return !state.mounting.contains(key); });
  state.mounting.insert(key);
  lock.unlock();
  auto mounted = state.mount(question);
  lock.lock();
  state.mounting.erase(key);
  state.changed.notify_all();
  if (!mounted) return fail_with_context("mount layer " + question.digest.to_string(), mounted.error());
  return mounted;
}

Result<> FuseBackend::recorded(const LayerQuestion& question) {
  state_->core->starts().recorded(question);
  return {};
}

Result<std::string> FuseBackend::trace(const LayerQuestion& question) {
  TRY_VOID(state_->core->grants().check(question.workspace, question.digest));
  return state_->core->starts().trace(question);
}

std::string FuseBackend::metrics() {
  return state_->core->metrics().expose();
}

void FuseBackend::stop() {
  state_->core->on_rot({});
  state_->stopping = true;
  state_->housekeeper.request_stop();
  state_->changed.notify_all();
}

}  // namespace hearth::mount
