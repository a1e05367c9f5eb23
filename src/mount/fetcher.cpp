#include "mount/fetcher.hpp"

#include "mount/flight_board.hpp"
#include "mount/reader_streams.hpp"
#include "mount/tier_reader.hpp"
#include "mount/worker_threads.hpp"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <future>
#include <mutex>
#include <stop_token>
#include <utility>

namespace hearth::mount {

namespace {

/// The timer looks at least so often; deadlines are kept to the millisecond all the same.
constexpr Duration kTickLongest = seconds(1);
/// A landed chunk whose awaited pages are missing again is looked at so often: somebody else drops them.
constexpr int kLandingTries = 3;

}  // namespace

struct Fetcher::State {
  explicit State(FetcherOptions o);

  /// A bundle on its way brings what is needed: read-ahead would bring it twice.
  bool may_guess(const PackFile& pack) const {
    return options.gate == nullptr || !options.gate->expects(pack.digest());
  }

  void fill(const FillRequest& request, Done done);
  void order(const FillRequest& request, const PageRange& range, Done done);
  void order_ahead(const std::vector<ReaderStreams::Order>& orders, MonoTime now);
  void work();
  void watch();
  void stop();
  void execute(FlightBoard::TakenRun& taken);
  bool land(const FlightBoard::TakenRun& taken, size_t i);
  void settle(const FlightBoard::TakenRun& taken, const std::vector<size_t>& left,
              const std::vector<std::optional<FetchFailure>>& failures);
  void tell(FinishedFills finished);

  const FetcherOptions options;
  TierReader reader;
  std::stop_source stopping;

  mutable std::mutex mutex;
  std::condition_variable work_changed;
  std::condition_variable watch_changed;
  FlightBoard board;
  ReaderStreams streams;
  FetchLoad load;
  MonoTime next_tick = MonoTime::max();
  bool stopped = false;

  std::atomic<MonoTime> last_demand{MonoTime{}};
  Histogram* demand_waits = nullptr;
  Histogram* prefetch_waits = nullptr;
  Gauge* in_flight = nullptr;
  WorkerThreads workers;
  WorkerThreads timer;
};

Fetcher::State::State(FetcherOptions o)
    : options(std::move(o)),
      reader({.tiers = options.tiers, .metrics = options.metrics, .observer = options.observer}),
      board(options.read_around_bytes, [this](const PackFile& pack) { return may_guess(pack); }),
      streams(options.read_ahead_bytes) {
  load.workers = std::max(1, options.workers);
  load.in_flight_max = options.in_flight_bytes;
  if (options.metrics == nullptr) return;
  const auto waits = [this](const char* urgency) {
    return &options.metrics->histogram("hearth_imagefs_fill_seconds", "How long missing pages were waited for",
                                       {{"urgency", urgency}});
  };
  demand_waits = waits("demand");
  prefetch_waits = waits("prefetch");
  in_flight = &options.metrics->gauge("hearth_imagefs_fetch_in_flight_bytes", "Bytes of packs being read and unpacked");
}

/// Without the lock: whoever is told may call again.
void Fetcher::State::tell(FinishedFills finished) {
  const auto now = mono_now();
  for (auto& fill : finished) {
    auto* waits = fill.urgency == Urgency::demand ? demand_waits : prefetch_waits;
    if (waits != nullptr) waits->observe(now - fill.started);
    fill.done(std::move(fill.result));
  }
}

void Fetcher::State::order(const FillRequest& request, const PageRange& range, Done done) {
  auto chunks = request.pack->chunks(range);
  const uint64_t covered_end = chunks.empty() ? range.end() : chunks.back().pages().end();
  std::erase_if(chunks, [&](const PackChunk& chunk) {
    const auto part = overlap(chunk.pages(), range);
    return request.pack->present(part.offset, part.length);
  });
  const auto now = mono_now();
  const auto deadline = request.deadline.at() ? request.deadline : Deadline::after(now, kReadDeadline);
  FinishedFills finished;
  {
    const std::lock_guard lock(mutex);
    if (stopped) {
      finished.push_back({std::move(done), fail(ErrorCode::cancelled, "imagefs is stopping"), request.urgency, now});
    } else {
      finished =
          board.add(request.pack, chunks,
                    {.urgency = request.urgency, .deadline = deadline, .range = range, .done = std::move(done)}, now);
      if (request.urgency == Urgency::demand) order_ahead(streams.read(request.pack, range, covered_end, now), now);
      if (*deadline.at() < next_tick) watch_changed.notify_one();
      if (board.has_work(load)) work_changed.notify_one();
    }
  }
  tell(std::move(finished));
}

/// The lock is held.
void Fetcher::State::order_ahead(const std::vector<ReaderStreams::Order>& orders, MonoTime now) {
  for (const auto& order : orders) {
    if (!order.pack->room_for_prefetch() || !may_guess(*order.pack)) continue;
    for (const auto& chunk : order.pack->chunks(order.range)) {
      if (order.pack->present(chunk.plain_offset, chunk.length)) continue;
      board.order_ahead(order.pack, chunk,
                        order.mark && overlap(chunk.pages(), order.range).offset == order.range.offset, now);
    }
  }
}

void Fetcher::State::work() {
  std::unique_lock lock(mutex);
  while (!stopped) {
    auto taken = board.take(load, mono_now());
    if (!taken) {
      work_changed.wait(lock);
      continue;
    }
    const int background = taken->precedence == FetchClass::demand ? 0 : 1;
    ++load.running;
    load.running_background += background;
    load.in_flight_bytes += taken->bytes;
    if (in_flight != nullptr) in_flight->set(static_cast<int64_t>(load.in_flight_bytes));
    if (board.has_work(load)) work_changed.notify_one();  // each wakes the next, and none for nothing
    lock.unlock();
    execute(*taken);
    lock.lock();
    --load.running;
    load.running_background -= background;
    load.in_flight_bytes -= taken->bytes;
    if (in_flight != nullptr) in_flight->set(static_cast<int64_t>(load.in_flight_bytes));
  }
}

/// First what the disk has, then what the tiers have.
void Fetcher::State::execute(FlightBoard::TakenRun& taken) {
  auto& pack = *taken.run.pack;
  std::vector<size_t> left;
  for (size_t i = 0; i < taken.flights.size(); ++i) {
    if (!reader.verify_on_disk(pack, taken.run.items[i]) || !land(taken, i)) left.push_back(i);
  }
  if (left.empty()) return;
  FetchRun run{.pack = taken.run.pack,
               .urgency = taken.run.urgency,
               .round = taken.run.round,
               .deadline = taken.run.deadline,
               .asked = taken.run.asked};
  for (const size_t i : left) run.items.push_back(taken.run.items[i]);
  // A flight that landed is gone: no second look at it.
  std::vector<std::atomic<bool>> landed(left.size());
  auto failures = reader.fetch(run, [&](size_t k) { landed[k] = land(taken, left[k]); }, stopping.get_token());
  for (size_t k = 0; k < left.size(); ++k) {
    if (landed[k] || failures[k]) continue;
    failures[k] = FetchFailure{FetchFailure::Kind::trouble, {ErrorCode::unavailable, "pages were dropped again"}};
  }
  settle(taken, left, failures);
}

/// Whether the flight is gone. A page that was kept back for a reader who has come meanwhile is verified first.
bool Fetcher::State::land(const FlightBoard::TakenRun& taken, size_t i) {
  FinishedFills finished;
  bool landed = false;
  for (int tries = 0; !landed && tries < kLandingTries; ++tries) {
    BlockMask awaited = 0;
    {
      const std::lock_guard lock(mutex);
      landed = board.try_to_land(*taken.flights[i], finished);
      if (!landed) awaited = taken.flights[i]->awaited;
    }
    const FetchRun::Item item{.chunk = taken.run.items[i].chunk, .wanted = awaited};
    if (!landed && !reader.verify_on_disk(*taken.run.pack, item)) break;
  }
  tell(std::move(finished));
  return landed;
}

void Fetcher::State::settle(const FlightBoard::TakenRun& taken, const std::vector<size_t>& left,
                            const std::vector<std::optional<FetchFailure>>& failures) {
  FinishedFills finished;
  {
    const std::lock_guard lock(mutex);
    for (size_t k = 0; k < left.size(); ++k) {
      if (failures[k]) board.failed(*taken.flights[left[k]], *failures[k], mono_now(), finished);
    }
    watch_changed.notify_one();
  }
  tell(std::move(finished));
}

/// The timer: deadlines, pauses that are over, readers that do not come.
void Fetcher::State::watch() {
  std::unique_lock lock(mutex);
  while (!stopped) {
    const auto now = mono_now();
    FinishedFills finished;
    const auto next = board.tick(now, finished);
    order_ahead(streams.forget_idle(now), now);
    next_tick = std::min(next.value_or(MonoTime::max()), now + kTickLongest);
    if (board.has_work(load)) work_changed.notify_one();
    if (!finished.empty()) {
      lock.unlock();
      tell(std::move(finished));
      lock.lock();
      continue;
    }
    watch_changed.wait_until(lock, next_tick);
  }
}

void Fetcher::State::stop() {
  stopping.request_stop();
  FinishedFills finished;
  {
    const std::lock_guard lock(mutex);
    if (stopped) return;
    stopped = true;
    finished = board.cancel_all();
    streams.clear();
  }
  work_changed.notify_all();
  watch_changed.notify_all();
  tell(std::move(finished));
  workers.join();
  timer.join();
}

/// Demand for one run of pages may be on its way by another road.
void Fetcher::State::fill(const FillRequest& request, Done done) {
  order(request, pages_of(request.offset, request.length), std::move(done));
}

Fetcher::Fetcher(FetcherOptions options) : state_(std::make_shared<State>(std::move(options))) {
  state_->workers.start(state_->load.workers, [state = state_.get()] { state->work(); });
  state_->timer.start(1, [state = state_.get()] { state->watch(); });
}

Fetcher::~Fetcher() {
  stop();
}

void Fetcher::stop() {
  state_->stop();
}

void Fetcher::fill(FillRequest request, Done done) {
  const auto& pack = *request.pack;
  if (pack.present(request.offset, request.length)) return done({});
  if (request.offset > pack.plain_size() || request.length > pack.plain_size() - request.offset) {
    return done(fail(ErrorCode::invalid_argument, "bytes beyond the end of pack " + pack.digest().hex()));
  }
  if (request.urgency == Urgency::prefetch) {
    if (!pack.room_for_prefetch()) return done(fail(ErrorCode::exhausted, "the cache is at its bounds"));
    return state_->fill(request, std::move(done));
  }
  state_->last_demand.store(mono_now(), std::memory_order_relaxed);
  const auto missing = pack.missing(request.offset, request.length);
  for (const auto& range : missing) {
    if (pack.covers(range)) continue;
    return done(
        fail(ErrorCode::invalid_argument, "no mounted layer has all of these bytes of pack " + pack.digest().hex()));
  }
  auto* gate = state_->options.gate;
  if (gate == nullptr || missing.size() != 1) return state_->fill(request, std::move(done));
  // The gate takes the call only when it answers yes.
  const auto shared = std::make_shared<std::pair<FillRequest, Done>>(std::move(request), std::move(done));
  DemandGate::Again again = [state = state_, shared] { state->fill(shared->first, std::move(shared->second)); };
  if (!gate->wait(pack.digest(), missing[0].offset, missing[0].length, again)) again();
}

Result<> Fetcher::fill_and_wait(FillRequest request) {
  std::promise<Result<>> promise;
  auto result = promise.get_future();
  fill(std::move(request), [&promise](Result<> r) { promise.set_value(std::move(r)); });
  return result.get();
}

bool Fetcher::verify_on_disk(PackFile& pack, const PackChunk& chunk) {
  return state_->reader.verify_on_disk(pack, {.chunk = chunk});
}

MonoTime Fetcher::last_demand() const {
  return state_->last_demand.load(std::memory_order_relaxed);
}

bool Fetcher::has_demand() const {
  const std::lock_guard lock(state_->mutex);
  return state_->board.demand_calls() > 0;
}

}  // namespace hearth::mount
