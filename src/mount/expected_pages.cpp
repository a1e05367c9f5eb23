#include "mount/expected_pages.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace hearth::mount {

namespace {

struct Waiter {
  uint64_t position = 0;
  MonoTime until;
  DemandGate::Again again;
};

/// Takes out of `waiters` those the rule is true for.
template <class Rule>
std::vector<Waiter> take(std::vector<Waiter>& waiters, const Rule& rule) {
  const auto kept = std::partition(waiters.begin(), waiters.end(), [&rule](const Waiter& w) { return !rule(w); });
  std::vector<Waiter> taken(std::make_move_iterator(kept), std::make_move_iterator(waiters.end()));
  waiters.erase(kept, waiters.end());
  return taken;
}

void tell(std::vector<Waiter>& waiters) {
  for (Waiter& waiter : waiters) waiter.again();
}

}  // namespace

ExpectedRuns::ExpectedRuns(std::unordered_map<Digest, std::vector<ExpectedRun>> packs) : packs_(std::move(packs)) {
  for (auto& [pack, runs] : packs_) std::ranges::sort(runs, {}, &ExpectedRun::offset);
}

std::optional<uint64_t> ExpectedRuns::position_of(const Digest& pack, uint64_t offset, uint64_t length) const {
  const auto found = packs_.find(pack);
  if (found == packs_.end() || length == 0) return std::nullopt;
  const std::vector<ExpectedRun>& runs = found->second;
  auto run = std::ranges::upper_bound(runs, offset, {}, &ExpectedRun::offset);
  if (run == runs.begin()) return std::nullopt;
  --run;
  uint64_t position = 0;
  for (uint64_t at = offset; at < offset + length; ++run) {
    if (run == runs.end() || run->offset > at || run->offset + run->length <= at) return std::nullopt;
    position = std::max(position, run->position);
    at = run->offset + run->length;
  }
  return position;
}

void StreamPace::reached(uint64_t position, MonoTime now) {
  if (!first_) first_ = Point{.at = now, .position = position};
  position_ = std::max(position_, position);
}

std::optional<Duration> StreamPace::time_to(uint64_t position, MonoTime now) const {
  if (position <= position_) return Duration::zero();
  if (!first_ || position_ == first_->position || now <= first_->at) return std::nullopt;
  // Up to now, not up to the last bytes: a stream that stands still gets slower and slower.
  const auto took = static_cast<double>((now - first_->at).count());
  const auto came = static_cast<double>(position_ - first_->position);
  const double wanted = static_cast<double>(position - position_) * (took / came);
  constexpr double kEver = 1e18;  // nanoseconds; 30 years
  return Duration(static_cast<Duration::rep>(std::min(wanted, kEver)));
}

struct ExpectedPages::Promise::Stream {
  explicit Stream(ExpectedRuns r) : runs(std::move(r)) {}
  const ExpectedRuns runs;
  StreamPace pace;
  std::vector<Waiter> waiters;
};

std::unique_ptr<ExpectedPages::Promise> ExpectedPages::promise(ExpectedRuns runs) {
  auto stream = std::make_shared<Promise::Stream>(std::move(runs));
  const std::lock_guard lock(mutex_);
  streams_.push_back(stream);
  return std::unique_ptr<Promise>(new Promise(*this, std::move(stream)));
}

void ExpectedPages::Promise::arrived(uint64_t position) {
  std::vector<Waiter> served;
  {
    const std::lock_guard lock(all_.mutex_);
    stream_->pace.reached(position, mono_now());
    served = take(stream_->waiters, [position](const Waiter& waiter) { return waiter.position <= position; });
  }
  tell(served);
}

ExpectedPages::Promise::~Promise() {
  std::vector<Waiter> left;
  {
    const std::lock_guard lock(all_.mutex_);
    std::erase(all_.streams_, stream_);
    left = std::move(stream_->waiters);
  }
  tell(left);
}

bool ExpectedPages::wait(const Digest& pack, uint64_t offset, uint64_t length, Again& again) {
  std::unique_lock lock(mutex_);
  const MonoTime now = mono_now();
  for (const auto& stream : streams_) {
    const auto position = stream->runs.position_of(pack, offset, length);
    if (!position) continue;
    if (*position <= stream->pace.position()) {  // stored while the caller was asking
      lock.unlock();
      Again now_already = std::move(again);
      now_already();
      return true;
    }
    if (stream->pace.time_to(*position, now).value_or(Duration::zero()) > limits_.longest) continue;
    ++counts_.waits;
    stream->waiters.push_back({*position, now + limits_.patience, std::move(again)});
    if (!watch_.joinable()) watch_ = std::jthread([this](const std::stop_token& stop) { watch(stop); });
    changed_.notify_all();
    return true;
  }
  return false;
}

bool ExpectedPages::expects(const Digest& pack) const {
  const std::lock_guard lock(mutex_);
  return std::ranges::any_of(streams_, [&pack](const auto& stream) { return stream->runs.contains(pack); });
}

ExpectedPages::Counts ExpectedPages::counts() const {
  const std::lock_guard lock(mutex_);
  return counts_;
}

/// Ends the waits whose patience is over.
void ExpectedPages::watch(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    const MonoTime now = mono_now();
    MonoTime next = MonoTime::max();
    std::vector<Waiter> over;
    for (const auto& stream : streams_) {
      auto taken = take(stream->waiters, [now](const Waiter& waiter) { return waiter.until <= now; });
      std::ranges::move(taken, std::back_inserter(over));
      for (const Waiter& waiter : stream->waiters) next = std::min(next, waiter.until);
    }
    counts_.in_vain += over.size();
    if (!over.empty()) {
      lock.unlock();
      tell(over);
      lock.lock();
      continue;
    }
    if (next == MonoTime::max()) {
      changed_.wait(lock, stop, [this] {
        return std::ranges::any_of(streams_, [](const auto& stream) { return !stream->waiters.empty(); });
      });
    } else {
      // Earlier ends cannot be added meanwhile: patience is the same for all.
      changed_.wait_until(lock, stop, next, [] { return false; });
    }
  }
}

}  // namespace hearth::mount
