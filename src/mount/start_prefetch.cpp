#include "mount/start_prefetch.hpp"

#include "base/log.hpp"
#include "mount/content_owners.hpp"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

namespace hearth::mount {

namespace {

/// How often a thread that waits for a bundle looks whether it is still wanted.
constexpr Duration kPatience = milliseconds(100);

struct Landing {
  PrefetchQueue::Run run;
  PrefetchQueue::Landed how = PrefetchQueue::Landed::present;
};

}  // namespace

/// The reads of the start come in from outside, the runs from the fetcher; the thread does the rest.
struct StartPrefetch::State : std::enable_shared_from_this<StartPrefetch::State> {
  explicit State(StartPrefetchOptions o) : options(std::move(o)), seen(options.layer->index().chunk_count(), false) {
    const auto& index = options.layer->index();
    for (uint32_t number = 0; number < index.pack_count(); ++number) packs.emplace(index.pack(number).digest, number);
  }

  void touched(const Digest& pack, const PageRange& range, Waited waited);
  void run(const std::stop_token& stop);
  bool is_wanted(const std::stop_token& stop);
  void follow(Neighbours& neighbours, PrefetchQueue& queue, const Neighbours::Advice& advice);
  void send(PrefetchQueue& queue);
  bool is_present(uint32_t chunk) const;
  std::optional<std::string> bytes_of(const Neighbours::Look& look) const;

  const StartPrefetchOptions options;
  std::unordered_map<Digest, uint32_t> packs;  // → number in the layer

  mutable std::mutex mutex;
  std::condition_variable_any changed;
  std::vector<bool> seen;         // by chunk: told
  std::vector<uint32_t> touches;  // to be told
  std::vector<Landing> landings;
  uint64_t waits = 0;
  int flying = 0;
  Counts counts;
  std::jthread thread;
};

StartPrefetch::StartPrefetch(StartPrefetchOptions options) : state_(std::make_shared<State>(std::move(options))) {
  state_->thread = std::jthread([state = state_.get()](const std::stop_token& stop) { state->run(stop); });
}

StartPrefetch::~StartPrefetch() {
  state_->thread.request_stop();
  state_->thread.join();
}

void StartPrefetch::touched(const Digest& pack, const PageRange& range, Waited waited) {
  state_->touched(pack, range, waited);
}

StartPrefetch::Counts StartPrefetch::counts() const {
  const std::lock_guard lock(state_->mutex);
  return state_->counts;
}

void StartPrefetch::State::touched(const Digest& pack, const PageRange& range, Waited waited) {
  const auto number = packs.find(pack);
  if (number == packs.end()) return;
  const auto runs = runs_at(*options.layer->chunks(), number->second, range);
  const std::lock_guard lock(mutex);
  if (waited == Waited::yes) ++waits;
  for (const auto& run : runs) {
    if (seen[run.chunk]) continue;
    seen[run.chunk] = true;
    touches.push_back(run.chunk);
  }
  changed.notify_all();
}

/// Returns when there is something to do; false: there is nothing, and never will be.
bool StartPrefetch::State::is_wanted(const std::stop_token& stop) {
  using Outcome = BundleStream::Outcome;
  if (options.bundle == nullptr) return !stop.stop_requested();
  auto status = options.bundle->status();
  while (status.outcome == Outcome::streaming && !stop.stop_requested()) {
    status = options.bundle->wait(Deadline::after(mono_now(), kPatience));
  }
  if (status.outcome == Outcome::no_profile || status.outcome == Outcome::failed) return !stop.stop_requested();
  std::unique_lock lock(mutex);
  const uint64_t before = waits;
  return changed.wait(lock, stop, [this, before] { return waits >= before + kWaitsAfterBundle; });
}

bool StartPrefetch::State::is_present(uint32_t chunk) const {
  const auto place = options.layer->index().location(chunk);
  return options.layer->pack(place.pack)->present(place.plain_offset, options.layer->index().chunk(chunk).length);
}

std::optional<std::string> StartPrefetch::State::bytes_of(const Neighbours::Look& look) const {
  const auto& index = options.layer->index();
  const auto file = index.inode(look.inode);
  std::string bytes(look.range.length, '\0');
  for (uint32_t i = first_extent_behind(index, file, look.range.offset); i < file.count; ++i) {
    const auto extent = index.extent(file, i);
    const uint64_t begin = std::max(extent.offset, look.range.offset);
    const uint64_t end = std::min(extent.offset + extent.length, look.range.end());
    if (begin >= end) break;
    const auto place = index.location(extent.chunk);
    const uint64_t at = place.plain_offset + (begin - extent.offset);
    const auto& pack = options.layer->pack(place.pack);
    if (!pack->present(at, end - begin)) return std::nullopt;
    if (!pack->read(at, bytes.data() + (begin - look.range.offset), end - begin)) return std::nullopt;
  }
  return bytes;
}

/// And whatever follows from what can be looked at at once.
void StartPrefetch::State::follow(Neighbours& neighbours, PrefetchQueue& queue, const Neighbours::Advice& advice) {
  const auto present = [this](uint32_t chunk) { return is_present(chunk); };
  queue.add(advice, present);
  for (auto looks = queue.ready(); !looks.empty(); looks = queue.ready()) {
    for (const auto& look : looks) {
      if (const auto bytes = bytes_of(look)) queue.add(neighbours.shown(look, *bytes), present);
    }
  }
}

void StartPrefetch::State::send(PrefetchQueue& queue) {
  for (;;) {
    {
      const std::lock_guard lock(mutex);
      if (flying >= options.runs_at_once) return;
      ++flying;
    }
    auto run = queue.next();
    if (!run) break;
    const FillRequest request{.pack = options.layer->pack(run->pack),
                              .offset = run->plain.offset,
                              .length = run->plain.length,
                              .urgency = Urgency::prefetch,
                              .deadline = {}};
    options.fetcher->fill(request, [state = shared_from_this(), run = std::move(*run)](const Result<>& filled) mutable {
      const std::lock_guard lock(state->mutex);
      --state->flying;
      ++state->counts.runs;
      if (!filled) ++state->counts.failed;
      state->landings.push_back(
          {std::move(run), filled ? PrefetchQueue::Landed::present : PrefetchQueue::Landed::failed});
      state->changed.notify_all();
    });
  }
  const std::lock_guard lock(mutex);
  --flying;
}

void StartPrefetch::State::run(const std::stop_token& stop) {
  if (!is_wanted(stop)) return;
  auto made = ContentOwners::of(options.layer->chunks());
  if (!made) return log_warning("nothing is fetched ahead of a start", {{"error", made.error().message}});
  const auto owners = std::make_shared<const ContentOwners>(std::move(*made));
  Neighbours neighbours(owners, options.limits);
  PrefetchQueue queue(options.layer->chunks(), options.runs);
  if (options.bundle == nullptr || !options.bundle->status().runs) follow(neighbours, queue, neighbours.begin());
  while (!stop.stop_requested()) {
    send(queue);
    std::unique_lock lock(mutex);
    counts.advice = neighbours.counts();
    changed.wait(lock, stop, [this] { return !touches.empty() || !landings.empty(); });
    const auto told = std::exchange(touches, {});
    const auto landed = std::exchange(landings, {});
    lock.unlock();
    for (const auto& landing : landed) queue.landed(landing.run, landing.how);
    follow(neighbours, queue, {});
    for (const uint32_t chunk : told) follow(neighbours, queue, neighbours.touched(chunk));
  }
}

}  // namespace hearth::mount
