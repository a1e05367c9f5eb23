// Who waits for which chunk, what is on its way, and what became of it: the bookkeeping of the fetcher, without threads
// or I/O.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"
#include "mount/chunk_tier.hpp"
#include "mount/fetch_queue.hpp"
#include "mount/pack_file.hpp"
#include "mount/tier_reader.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

namespace hearth::mount {

/// How often a chunk is asked for again when all tiers had wrong bytes, or none had the pack.
inline constexpr uint32_t kWrongRoundsMax = 4;
inline constexpr uint32_t kMissingRoundsMax = 3;
/// Pauses between attempts: doubled from the first to the longest.
inline constexpr Duration kRetryFirst = milliseconds(50);
inline constexpr Duration kRetryLongest = seconds(2);

/// A call of Fetcher::fill that has come to its end; to be told without any lock.
struct FinishedFill {
  std::move_only_function<void(Result<>)> done;
  Result<> result;
  Urgency urgency = Urgency::demand;
  MonoTime started;
};
using FinishedFills = std::vector<FinishedFill>;

struct FillCall;

/// Not thread-safe. Flights are owned here and end in landed(), failed(), tick() or cancel_all().
class FlightBoard {
 public:
  struct Fill {
    Urgency urgency = Urgency::demand;
    Deadline deadline;
    PageRange range;
    std::move_only_function<void(Result<>)> done;
  };

  /// One chunk on its way.
  struct Flight : QueuedChunk {
    std::shared_ptr<PackFile> pack;
    PackChunk chunk;
    BlockMask awaited = 0;  // blocks that calls wait for
    bool mark = false;      // see FetchRun
    MonoTime asked;

   private:
    friend class FlightBoard;
    enum class State { queued, delayed, running };
    State state_ = State::queued;
    std::vector<std::shared_ptr<FillCall>> calls_;
    std::multimap<MonoTime, Flight*>::iterator due_;  // when delayed
    uint32_t attempts_ = 0;
    uint32_t wrong_rounds_ = 0;
    uint32_t missing_rounds_ = 0;
  };

  struct TakenRun {
    FetchRun run;
    std::vector<Flight*> flights;  // of run.items
    FetchClass precedence = FetchClass::demand;
    uint64_t bytes = 0;  // of the range of the pack that holds them
  };

  /// `may_guess`: whether what nobody asked for may be read along with what somebody did.
  using MayGuess = std::function<bool(const PackFile&)>;
  explicit FlightBoard(
      uint64_t read_around_bytes, MayGuess may_guess = [](const PackFile&) { return true; })
      : read_around_bytes_(read_around_bytes), may_guess_(std::move(may_guess)) {}
  ~FlightBoard();
  FlightBoard(const FlightBoard&) = delete;
  FlightBoard& operator=(const FlightBoard&) = delete;

  /// A call waits for these chunks of a pack, none of which is present as far as the range goes; finished at once when
  /// there are none.
  FinishedFills add(const std::shared_ptr<PackFile>& pack, const std::vector<PackChunk>& chunks, Fill fill,
                    MonoTime now);
  /// Nobody waits for the chunk, but somebody will. With `mark`: FetchRun::Item::mark. Nothing when it is on its way.
  void order_ahead(const std::shared_ptr<PackFile>& pack, const PackChunk& chunk, bool mark, MonoTime now);

  /// What a free worker is to do, and whether there would be something.
  bool has_work(const FetchLoad& load) const { return next_run(queue_, load).has_value(); }
  std::optional<TakenRun> take(const FetchLoad& load, MonoTime now);

  /// Whether what is awaited of the flight is present. Then it has landed and is gone, and its calls are told.
  bool try_to_land(Flight& flight, FinishedFills& finished);
  /// The flight did not land. It is tried again later, or its calls fail and it is gone.
  void failed(Flight& flight, const FetchFailure& failure, MonoTime now, FinishedFills& finished);

  /// Ends calls whose deadline has passed; queues flights whose pause is over. Returns when to come again.
  std::optional<MonoTime> tick(MonoTime now, FinishedFills& finished);
  /// Ends all calls, and all flights that are not running.
  FinishedFills cancel_all();

  size_t demand_calls() const { return demand_calls_; }
  size_t flight_count() const { return flights_.size(); }

 private:
  using Key = std::pair<const PackFile*, uint64_t>;
  struct KeyHash {
    size_t operator()(const Key& key) const noexcept {
      return std::hash<const void*>()(key.first) ^ std::hash<uint64_t>()(key.second * 0x9E3779B97F4A7C15U);
    }
  };

  Flight* find(const PackFile& pack, const PackChunk& chunk);
  Flight& make(const std::shared_ptr<PackFile>& pack, const PackChunk& chunk, FetchClass precedence, MonoTime now);
  void take_along(std::vector<Flight*>& flights, MonoTime now);
  void erase(Flight& flight);
  void delay(Flight& flight, MonoTime until);
  void finish(FillCall& call, Result<> result, FinishedFills& finished);
  void fail_calls(Flight& flight, const Error& error, FinishedFills& finished);
  static bool has_open_call(const Flight& flight, std::optional<Urgency> urgency);

  const uint64_t read_around_bytes_;
  const MayGuess may_guess_;
  std::unordered_map<Key, std::unique_ptr<Flight>, KeyHash> flights_;
  FetchQueue queue_;
  std::multimap<MonoTime, Flight*> delayed_;
  std::multimap<MonoTime, std::shared_ptr<FillCall>> deadlines_;
  size_t demand_calls_ = 0;
};

}  // namespace hearth::mount
