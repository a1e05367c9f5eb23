#include "blob/range_reader.hpp"

#include "blob/bandwidth_limiter.hpp"
#include "blob/request_gate.hpp"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace hearth::blob {

namespace {

constexpr int kHedgeThreadsMax = 8;  // second requests under way at once

/// One range of one object being fetched, perhaps twice. The first to finish decides.
struct Race {
  std::string key;
  uint64_t offset = 0;
  uint64_t length = 0;
  Deadline deadline{};
  std::mutex mutex{};
  std::stop_source first{};   // of the request in the caller's thread
  std::stop_source second{};  // of the one made for a straggler
  bool decided = false;
  bool second_won = false;
  std::string bytes{};  // of the second, when it won
};

}  // namespace

struct RangeReader::State : std::enable_shared_from_this<State> {
  State(std::shared_ptr<ObjectStore> its_store, RangeReaderOptions its_options)
      : store(std::move(its_store)),
        options(its_options),
        gate(options.connections, std::min(options.prefetch_connections, options.connections)),
        policy(options.hedge) {}

  Result<std::string> fetch(const Race& race, const std::stop_token& stop) const {
    std::string bytes;
    bytes.reserve(race.length);
    TRY_VOID(store->read(race.key, {race.offset, race.length},
                         [&bytes](std::string_view more) -> Result<> {
                           bytes.append(more);
                           return {};
                         },
                         {.deadline = race.deadline, .stop = stop}));
    return bytes;
  }

  Result<std::string> read_piece(std::string_view key, ByteRange range, const ReadOptions& read_options);
  Result<std::string> read_pieces(std::string_view key, ByteRange range, const ReadOptions& read_options);
  Result<std::string> run_first(const std::shared_ptr<Race>& race, const ReadOptions& read_options);
  void run_second(const std::shared_ptr<Race>& race);
  void watch(const std::stop_token& stop);
  void start_watching();

  const std::shared_ptr<ObjectStore> store;
  const RangeReaderOptions options;
  RequestGate gate;

  std::atomic<uint64_t> requests{0};
  std::atomic<uint64_t> bytes_read{0};
  std::atomic<uint64_t> hedges{0};
  std::atomic<uint64_t> hedges_won{0};

  struct Watched {
    MonoTime at;
    std::weak_ptr<Race> race;
  };
  std::mutex mutex;  // of what follows
  HedgePolicy policy;
  std::vector<Watched> watched;  // unordered: few
  std::condition_variable_any watch_changed;
  MonoTime watch_wakes = MonoTime::max();  // when the watcher looks next by itself
  int hedge_threads = 0;
  std::condition_variable hedge_ended;
  std::jthread watcher;  // started by the first read that may be hedged
};

RangeReader::RangeReader(std::shared_ptr<ObjectStore> store, RangeReaderOptions options)
    : state_(std::make_shared<State>(std::move(store), options)) {}

RangeReader::~RangeReader() {
  std::unique_lock lock(state_->mutex);
  state_->watcher.request_stop();
  lock.unlock();
  if (state_->watcher.joinable()) state_->watcher.join();
  lock.lock();
  state_->hedge_ended.wait(lock, [this] { return state_->hedge_threads == 0; });
}

RangeReaderCounts RangeReader::counts() const {
  return {.requests = state_->requests,
          .bytes = state_->bytes_read,
          .hedges = state_->hedges,
          .hedges_won = state_->hedges_won};
}

Result<std::string> RangeReader::read(std::string_view key, uint64_t offset, uint64_t length,
                                      const ReadOptions& options) {
  if (length == ByteRange::kToEnd) return fail(ErrorCode::invalid_argument, "a read needs a length");
  const bool long_one = state_->store->is_remote() && length >= 2 * state_->options.piece_bytes;
  auto bytes = long_one ? state_->read_pieces(key, {offset, length}, options)
                        : state_->read_piece(key, {offset, length}, options);
  if (bytes) state_->bytes_read += bytes->size();
  return bytes;
}

Result<> RangeReader::stream(std::string_view key, ByteRange range, const ByteSink& sink, const ReadOptions& options) {
  const Patience patience{.deadline = options.deadline, .stop = options.stop};
  TRY(const auto place, state_->gate.enter(options.priority, patience));
  ++state_->requests;
  return state_->store->read(
      key, range,
      [this, &sink, &options, &patience](std::string_view bytes) -> Result<> {
        state_->bytes_read += bytes.size();
        if (options.limiter != nullptr) TRY_VOID(options.limiter->take(bytes.size(), patience));
        return sink(bytes);
      },
      patience);
}

Result<std::string> RangeReader::State::read_piece(std::string_view key, ByteRange range,
                                                   const ReadOptions& read_options) {
  const Patience patience{.deadline = read_options.deadline, .stop = read_options.stop};
  if (read_options.limiter != nullptr) TRY_VOID(read_options.limiter->take(range.length, patience));
  TRY(const auto place, gate.enter(read_options.priority, patience));
  ++requests;
  auto race = std::make_shared<Race>();
  race->key = key;
  race->offset = range.offset;
  race->length = range.length;
  race->deadline = read_options.deadline;
  if (!store->is_remote()) return fetch(*race, read_options.stop);
  return run_first(race, read_options);
}

/// Several connections: each thread takes the next piece until none is left, or one failed.
Result<std::string> RangeReader::State::read_pieces(std::string_view key, ByteRange range,
                                                    const ReadOptions& read_options) {
  std::string bytes(range.length, '\0');
  const uint64_t pieces = (range.length + options.piece_bytes - 1) / options.piece_bytes;
  std::atomic<uint64_t> next{0};
  std::mutex error_mutex;
  std::optional<Error> error;
  std::stop_source stop;
  const std::stop_callback forward(read_options.stop, [&stop] { stop.request_stop(); });
  ReadOptions of_piece = read_options;
  of_piece.stop = stop.get_token();
  const auto work = [&] {
    for (uint64_t piece = next++; piece < pieces; piece = next++) {
      const uint64_t begin = piece * options.piece_bytes;
      const uint64_t length = std::min(options.piece_bytes, range.length - begin);
      auto part = read_piece(key, {range.offset + begin, length}, of_piece);
      if (part) {
        part->copy(bytes.data() + begin, length);
        continue;
      }
      const std::lock_guard lock(error_mutex);
      if (!error) error = part.error();  // the others end with `cancelled` because of it
      stop.request_stop();
      return;
    }
  };
  {
    std::vector<std::jthread> threads;
    const auto extra = std::min<uint64_t>(pieces, static_cast<uint64_t>(options.pieces_at_once)) - 1;
    threads.reserve(extra);
    for (uint64_t i = 0; i < extra; ++i) threads.emplace_back(work);
    work();
  }
  if (error) return Unexpected(std::move(*error));
  return bytes;
}

Result<std::string> RangeReader::State::run_first(const std::shared_ptr<Race>& race, const ReadOptions& read_options) {
  const MonoTime started = mono_now();
  {
    const std::lock_guard lock(mutex);
    policy.on_request();
    if (const auto patience = policy.patience(race->length)) {
      watched.push_back({started + *patience, race});
      start_watching();
      if (watched.back().at < watch_wakes) watch_changed.notify_one();
    }
  }
  // Either the caller gives up, or the second request was first.
  const std::stop_callback forward(read_options.stop, [&race] { race->first.request_stop(); });
  auto bytes = fetch(*race, race->first.get_token());
  {
    const std::lock_guard lock(mutex);
    policy.on_answer(race->length, mono_now() - started);
  }
  const std::lock_guard lock(race->mutex);
  if (race->second_won) return std::move(race->bytes);
  race->decided = true;
  race->second.request_stop();
  return bytes;
}

/// In a thread of its own. A second request that fails decides nothing: the first one is still under way.
void RangeReader::State::run_second(const std::shared_ptr<Race>& race) {
  auto bytes = fetch(*race, race->second.get_token());
  {
    const std::lock_guard lock(race->mutex);
    if (bytes && !race->decided) {
      race->decided = true;
      race->second_won = true;
      race->bytes = std::move(*bytes);
      race->first.request_stop();
      ++hedges_won;
    }
  }
  const std::lock_guard lock(mutex);
  --hedge_threads;
  hedge_ended.notify_all();
}

void RangeReader::State::start_watching() {
  if (watcher.joinable()) return;
  watcher = std::jthread([this](const std::stop_token& stop) { watch(stop); });
}

void RangeReader::State::watch(const std::stop_token& stop) {
  std::unique_lock lock(mutex);
  while (!stop.stop_requested()) {
    const MonoTime now = mono_now();
    MonoTime next = now + seconds(60);
    std::vector<std::shared_ptr<Race>> due;
    std::erase_if(watched, [&](const Watched& entry) {
      if (entry.at > now) {
        next = std::min(next, entry.at);
        return entry.race.expired();
      }
      if (auto race = entry.race.lock()) due.push_back(std::move(race));
      return true;
    });
    for (const auto& race : due) {
      const std::lock_guard race_lock(race->mutex);
      if (race->decided || hedge_threads >= kHedgeThreadsMax || !policy.spend()) continue;
      ++hedge_threads;
      ++hedges;
      ++requests;
      std::thread([self = shared_from_this(), race] { self->run_second(race); }).detach();
    }
    watch_wakes = next;
    watch_changed.wait_until(lock, stop, next, [this, next] {
      return std::ranges::any_of(watched, [next](const Watched& entry) { return entry.at < next; });
    });
  }
}

}  // namespace hearth::blob
