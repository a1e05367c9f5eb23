#include "mount/background_completion.hpp"

#include "base/log.hpp"

#include <algorithm>
#include <optional>

namespace hearth::mount {

namespace {

constexpr Duration kLookEvery = seconds(1);
constexpr Duration kRestShortest = milliseconds(5);

/// The first missing pages of the pack that a mounted layer has content in, at most so many bytes of them.
std::optional<PageRange> first_missing(const PackFile& pack, uint64_t most) {
  for (const auto& chunk : pack.chunks({0, pack.plain_size()})) {
    const auto missing = pack.missing(chunk.plain_offset, chunk.length);
    if (missing.empty()) continue;
    const uint64_t begin = missing.front().offset;
    return PageRange{begin, std::min(most, pack.plain_size() - begin)};
  }
  return std::nullopt;
}

}  // namespace

BackgroundCompletion::~BackgroundCompletion() {
  stop();
}

void BackgroundCompletion::start() {
  thread_.start(1, [this] { run(); });
}

void BackgroundCompletion::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  thread_.join();
}

/// Whether it is to go on.
bool BackgroundCompletion::pause(Duration duration) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, duration, [this] { return stopping_; });
  return !stopping_;
}

bool BackgroundCompletion::quiet() const {
  const auto last = std::max(fetcher_.last_demand(), expected_at_.load(std::memory_order_relaxed));
  return !fetcher_.has_demand() && mono_now() - last >= options_.quiet;
}

void BackgroundCompletion::run() {
  Duration rest = kLookEvery;
  while (pause(rest)) {
    rest = std::min(kLookEvery, std::max<Duration>(options_.quiet, kRestShortest));
    if (!quiet()) continue;
    const auto began = mono_now();
    switch (bring_next()) {
      case Piece::none:
        break;
      case Piece::brought:
        rest = std::max<Duration>(kRestShortest, mono_now() - began);
        break;
      case Piece::failed:
        rest = options_.pause_after_failure;
        break;
    }
  }
}

BackgroundCompletion::Piece BackgroundCompletion::bring_next() {
  for (const auto& pack : cache_.open_packs()) {
    if (pack->complete() || !pack->room_for_prefetch()) continue;
    const auto piece = first_missing(*pack, options_.piece_bytes);
    if (!piece) continue;
    const auto brought = fetcher_.fill_and_wait(
        {.pack = pack, .offset = piece->offset, .length = piece->length, .urgency = Urgency::prefetch});
    if (brought) return Piece::brought;
    if (brought.error().code != ErrorCode::cancelled) {
      log_info("a layer is not completed for now",
               {{"pack", pack->digest().hex().substr(0, 12)}, {"error", brought.error().message}});
    }
    return Piece::failed;
  }
  return Piece::none;
}

}  // namespace hearth::mount
