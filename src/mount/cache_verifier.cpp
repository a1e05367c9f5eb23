#include "mount/cache_verifier.hpp"

#include "base/log.hpp"
#include "mount/low_priority.hpp"

#include <algorithm>
#include <iterator>
#include <string_view>
#include <utility>

namespace hearth::mount {

namespace {

/// How long we stand aside for readers before each chunk, and how often we look whether they are gone. Not for ever:
/// while the store is away readers wait all the time.
constexpr Duration kStandAside = milliseconds(200);
constexpr Duration kStandAsideStep = milliseconds(5);
/// How long the rewriting of a wrong block may take before it is left for later, and then.
constexpr Duration kMendDeadline = seconds(5);
constexpr Duration kMendAgainDeadline = seconds(1);

PageRange all_of(const PackFile& pack) {
  return {0, pack.plain_size()};
}

}  // namespace

CacheVerifier::CacheVerifier(DiskCache& cache, Fetcher& fetcher, VerifierOptions options)
    : cache_(cache), fetcher_(fetcher), options_(std::move(options)), synced_(mono_now()) {
  static MetricRegistry unread;
  auto& metrics = options_.metrics != nullptr ? *options_.metrics : unread;
  scrubbed_bytes_ = &metrics.counter("hearth_imagefs_scrubbed_bytes_total", "Bytes read again from the cache's disks");
  rot_ = &metrics.counter("hearth_imagefs_rot_total", "Blocks of the cache that had become wrong on disk");
  mended_ = &metrics.counter("hearth_imagefs_mended_total", "Wrong runs of bytes that were written again, right");
}

CacheVerifier::~CacheVerifier() {
  stop();
}

void CacheVerifier::start() {
  thread_.start(1, [this] { run(); });
}

void CacheVerifier::look_now() {
  const std::lock_guard lock(mutex_);
  look_ = true;
  changed_.notify_all();
}

void CacheVerifier::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  thread_.join();
}

void CacheVerifier::pause(Duration duration) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, duration, [this] { return stopping_; });
}

void CacheVerifier::stand_aside() {
  for (Duration stood{}; stood < kStandAside && fetcher_.has_demand(); stood += kStandAsideStep) pause(kStandAsideStep);
}

void CacheVerifier::run() {
  lower_priority();
  for (;;) {
    auto packs = cache_.open_packs();
    look_at(packs);
    mend_what_is_left();
    sync(packs);
    if (const auto pack = due_for_scrub(packs)) scrub(pack);
    packs.clear();  // nothing is kept open by our waiting
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kLookEvery, [this] { return stopping_ || look_; });
    if (stopping_) return;
    look_ = false;
  }
}

/// Candidates come with a new epoch, with a layer, or with a disk that failed: each time once through all of them.
void CacheVerifier::look_at(const std::vector<std::shared_ptr<PackFile>>& packs) {
  std::erase_if(seen_, [](const auto& entry) { return entry.second.pack.expired(); });
  for (const auto& pack : packs) {
    const auto [at, is_new] = seen_.try_emplace(pack.get());
    auto& seen = at->second;
    if (is_new || seen.pack.expired()) seen = {.pack = pack, .scrubbed = mono_now()};
    const uint64_t revision = pack->revision();
    if (seen.revision == revision) continue;
    verify_candidates(pack);
    seen.revision = revision;
    const std::lock_guard lock(mutex_);
    if (stopping_) return;
  }
}

void CacheVerifier::verify_candidates(const std::shared_ptr<PackFile>& pack) {
  if (!pack->has_candidates(all_of(*pack))) return;
  for (const auto& chunk : pack->chunks(all_of(*pack))) {
    const auto pages = chunk.pages();
    if (!pack->has_candidates(pages)) continue;
    stand_aside();
    const bool was_whole = pack->on_disk(pages);
    if (!fetcher_.verify_on_disk(*pack, chunk) && was_whole) mend(pack, pages, kMendDeadline);
    const std::lock_guard lock(mutex_);
    if (stopping_) return;
  }
}

void CacheVerifier::sync(const std::vector<std::shared_ptr<PackFile>>& packs) {
  if (mono_now() - synced_ < options_.sync_every || fetcher_.has_demand()) return;
  synced_ = mono_now();
  for (const auto& pack : packs) {
    const auto synced = pack->sync();
    if (!synced) log_error("a disk of the cache lost what was written", {{"error", synced.error().message}});
  }
}

/// The one that was not looked at for longest.
std::shared_ptr<PackFile> CacheVerifier::due_for_scrub(const std::vector<std::shared_ptr<PackFile>>& packs) {
  if (options_.scrub_bytes_per_second == 0) return nullptr;
  std::shared_ptr<PackFile> due;
  MonoTime oldest = mono_now() - options_.scrub_every;
  for (const auto& pack : packs) {
    auto& seen = seen_[pack.get()];
    if (!pack->complete() || seen.scrubbed > oldest) continue;
    oldest = seen.scrubbed;
    due = pack;
  }
  if (due) seen_[due.get()].scrubbed = mono_now();
  return due;
}

bool CacheVerifier::block_is_right(const PackFile& pack, const PackChunk& chunk, uint32_t block, char* buffer) const {
  const auto pages = chunk.block_pages(block);
  pack.drop_page_cache(pages);
  const auto read = pack.read(pages.offset, buffer, pages.length);
  const size_t length = std::min<size_t>(kBlockBytes, chunk.length - size_t{block} * kBlockBytes);
  const std::string_view padding(buffer + length, pages.length - length);
  return read && Digest::of({buffer, length}) == chunk.block_digest(block) &&
         padding.find_first_not_of('\0') == std::string_view::npos;
}

size_t CacheVerifier::scrub(const std::shared_ptr<PackFile>& pack) {
  if (!pack->sync()) return 0;  // all of it is doubted now, and will be looked at
  const auto buffer = std::make_unique_for_overwrite<char[]>(kBlockBytes);
  size_t wrong = 0;
  for (const auto& chunk : pack->chunks(all_of(*pack))) {
    stand_aside();
    const auto start = mono_now();
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < chunk.block_count(); ++i) {
      const auto pages = chunk.block_pages(i);
      if (!pack->present(pages.offset, pages.length)) continue;
      bytes += pages.length;
      // Twice: what a second look finds right was on its way, not on the disk.
      if (block_is_right(*pack, chunk, i, buffer.get()) || block_is_right(*pack, chunk, i, buffer.get())) continue;
      ++wrong;
      rot_->add();
      log_error("a disk of the cache has wrong bytes; they are fetched again",
                {{"pack", pack->digest().hex()}, {"offset", pages.offset}});
      pack->distrust(pages);
      if (options_.on_rot) options_.on_rot(pack, pages);
      mend(pack, pages, kMendDeadline);
    }
    scrubbed_bytes_->add(bytes);
    if (options_.scrub_bytes_per_second == 0) continue;
    const auto due = std::chrono::duration_cast<Duration>(std::chrono::duration<double>(
        static_cast<double>(bytes) / static_cast<double>(options_.scrub_bytes_per_second)));
    pause(std::max(Duration::zero(), due - (mono_now() - start)));
    const std::lock_guard lock(mutex_);
    if (stopping_) break;
  }
  return wrong;
}

/// Never by punching a hole: somebody may be reading there. Right bytes are written over the wrong ones.
bool CacheVerifier::mend(const std::shared_ptr<PackFile>& pack, const PageRange& range, Duration patience) {
  const auto filled = fetcher_.fill_and_wait({.pack = pack,
                                              .offset = range.offset,
                                              .length = range.length,
                                              .urgency = Urgency::demand,
                                              .deadline = Deadline::after(mono_now(), patience)});
  if (filled) {
    if (options_.on_mended) options_.on_mended(pack, range);
    mended_->add();
    return true;
  }
  log_warning("wrong bytes in the cache could not be fetched again yet",
              {{"pack", pack->digest().hex()}, {"error", filled.error().message}});
  wrong_.push_back({pack, range});
  return false;
}

void CacheVerifier::mend_what_is_left() {
  auto left = std::exchange(wrong_, {});
  while (!left.empty()) {
    const Wrong wrong = std::move(left.back());
    left.pop_back();
    const auto pack = wrong.pack.lock();
    if (pack && !mend(pack, wrong.range, kMendAgainDeadline)) break;  // the others can wait, too
  }
  std::ranges::move(left, std::back_inserter(wrong_));
}

}  // namespace hearth::mount
