#include "mount/flight_board.hpp"

#include "base/random_id.hpp"

#include <algorithm>
#include <string>

namespace hearth::mount {

/// A call of fill that waits for some flights.
struct FillCall {
  std::move_only_function<void(Result<>)> done;
  Urgency urgency = Urgency::demand;
  MonoTime started;
  MonoTime until;
  size_t open_flights = 0;
  bool finished = false;
  std::string trouble;  // the latest, for the message when time runs out
  std::multimap<MonoTime, std::shared_ptr<FillCall>>::iterator deadline;  // until it is finished
};

namespace {

/// How much plain space to look at for so many stored bytes.
constexpr uint64_t kPlainPerStored = 8;

uint64_t id_of(const PackFile& pack) {
  return reinterpret_cast<uintptr_t>(&pack);
}

FetchClass class_of(Urgency urgency) {
  return urgency == Urgency::demand ? FetchClass::demand : FetchClass::prefetch;
}

/// With a quarter of jitter: flights that failed together need not come back together.
Duration pause(uint32_t attempt) {
  const Duration full = std::min<Duration>(kRetryFirst * (1U << std::min(attempt, 10U)), kRetryLongest);
  return full - Duration(static_cast<Duration::rep>(random_u64() % static_cast<uint64_t>(full.count() / 4)));
}

Error told_to_readers(const FetchFailure& failure) {
  if (failure.kind != FetchFailure::Kind::missing) return failure.error;
  return {ErrorCode::corrupt, "no tier has the pack: " + failure.error.message};
}

}  // namespace

FlightBoard::~FlightBoard() = default;

FlightBoard::Flight* FlightBoard::find(const PackFile& pack, const PackChunk& chunk) {
  const auto found = flights_.find({&pack, chunk.plain_offset});
  return found == flights_.end() ? nullptr : found->second.get();
}

/// Not queued yet.
FlightBoard::Flight& FlightBoard::make(const std::shared_ptr<PackFile>& pack, const PackChunk& chunk,
                                       FetchClass precedence, MonoTime now) {
  auto flight = std::make_unique<Flight>();
  flight->pack_id = id_of(*pack);
  flight->stored_offset = chunk.stored_offset;
  flight->stored_length = chunk.stored_length;
  flight->precedence = precedence;
  flight->pack = pack;
  flight->chunk = chunk;
  flight->asked = now;
  auto& kept = *flight;
  flights_.emplace(Key{pack.get(), chunk.plain_offset}, std::move(flight));
  return kept;
}

FinishedFills FlightBoard::add(const std::shared_ptr<PackFile>& pack, const std::vector<PackChunk>& chunks, Fill fill,
                               MonoTime now) {
  FinishedFills finished;
  if (chunks.empty()) {
    finished.push_back({std::move(fill.done), {}, fill.urgency, now});
    return finished;
  }
  auto call = std::make_shared<FillCall>();
  call->done = std::move(fill.done);
  call->urgency = fill.urgency;
  call->started = now;
  call->open_flights = chunks.size();
  call->until = fill.deadline.at().value_or(MonoTime::max());
  call->deadline = deadlines_.emplace(call->until, call);
  if (fill.urgency == Urgency::demand) ++demand_calls_;
  const FetchClass wanted = class_of(fill.urgency);
  for (const auto& chunk : chunks) {
    Flight* flight = find(*pack, chunk);
    if (flight == nullptr) {
      flight = &make(pack, chunk, wanted, now);
      queue_.add(*flight);
    } else if (wanted < flight->precedence) {
      if (flight->state_ == Flight::State::queued) {
        queue_.promote(*flight, wanted);
      } else {
        flight->precedence = wanted;
      }
    }
    flight->awaited |= blocks_in(chunk, fill.range);
    flight->calls_.push_back(call);
  }
  return finished;
}

void FlightBoard::order_ahead(const std::shared_ptr<PackFile>& pack, const PackChunk& chunk, bool mark, MonoTime now) {
  if (Flight* flight = find(*pack, chunk); flight != nullptr) {
    if (flight->state_ == Flight::State::queued && FetchClass::ahead < flight->precedence) {
      queue_.promote(*flight, FetchClass::ahead);
    }
    return;
  }
  auto& flight = make(pack, chunk, FetchClass::ahead, now);
  flight.mark = mark;
  queue_.add(flight);
}

std::optional<FlightBoard::TakenRun> FlightBoard::take(const FetchLoad& load, MonoTime now) {
  const auto next = next_run(queue_, load);
  if (!next) return std::nullopt;
  std::vector<Flight*> flights;
  for (QueuedChunk* chunk : queue_.take(next->precedence, next->bytes)) flights.push_back(static_cast<Flight*>(chunk));
  TakenRun taken{.precedence = next->precedence};
  if (next->precedence == FetchClass::demand) take_along(flights, now);
  auto& run = taken.run;
  run.pack = flights.front()->pack;
  run.urgency = next->precedence == FetchClass::demand ? Urgency::demand : Urgency::prefetch;
  run.asked = flights.front()->asked;
  MonoTime deadline = now;
  for (Flight* flight : flights) {
    flight->state_ = Flight::State::running;
    run.items.push_back({.chunk = flight->chunk,
                         .wanted = flight->precedence == FetchClass::demand ? flight->awaited : kAllBlocks,
                         .mark = flight->mark && flight->awaited == 0});
    run.round = std::max(run.round, flight->wrong_rounds_);
    for (const auto& call : flight->calls_) deadline = std::max(deadline, call->until);
  }
  if (deadline != MonoTime::max() && deadline > now) run.deadline = Deadline(deadline);
  taken.bytes = flights.back()->chunk.stored_end() - flights.front()->stored_offset;
  taken.flights = std::move(flights);
  return taken;
}

/// A small read brings its missing neighbours along: the way there costs more than they do.
void FlightBoard::take_along(std::vector<Flight*>& flights, MonoTime now) {
  const auto pack = flights.front()->pack;
  const uint64_t begin = flights.front()->stored_offset;
  const auto& last = flights.back()->chunk;
  uint64_t end = last.stored_end();
  if (end - begin >= read_around_bytes_ || !may_guess_(*pack)) return;
  const PageRange behind{last.pages().end(), read_around_bytes_ * kPlainPerStored};
  for (const auto& chunk : pack->chunks(behind)) {
    if (chunk.stored_offset > end + kRunGapBytesMax || chunk.stored_end() - begin > read_around_bytes_) return;
    Flight* flight = find(*pack, chunk);
    if (flight != nullptr) {
      if (flight->state_ != Flight::State::queued) continue;
      queue_.remove(*flight);
    } else {
      if (pack->present(chunk.plain_offset, chunk.length)) continue;
      flight = &make(pack, chunk, FetchClass::ahead, now);
    }
    flights.push_back(flight);
    end = chunk.stored_end();
  }
}

bool FlightBoard::try_to_land(Flight& flight, FinishedFills& finished) {
  if (!blocks_present(*flight.pack, flight.chunk, flight.awaited)) return false;
  for (const auto& call : flight.calls_) {
    if (!call->finished && --call->open_flights == 0) finish(*call, {}, finished);
  }
  erase(flight);
  return true;
}

void FlightBoard::failed(Flight& flight, const FetchFailure& failure, MonoTime now, FinishedFills& finished) {
  using Kind = FetchFailure::Kind;
  for (const auto& call : flight.calls_) call->trouble = failure.error.message;
  bool again = false;
  switch (failure.kind) {
    case Kind::trouble:
      again = has_open_call(flight, Urgency::demand);  // what nobody waits for can be asked for again
      break;
    case Kind::wrong:
      again = ++flight.wrong_rounds_ < kWrongRoundsMax && has_open_call(flight, std::nullopt);
      break;
    case Kind::missing:
      again = ++flight.missing_rounds_ < kMissingRoundsMax && has_open_call(flight, std::nullopt);
      break;
    case Kind::local:
      break;
  }
  if (again) {
    delay(flight, now + pause(flight.attempts_++));
    return;
  }
  fail_calls(flight, told_to_readers(failure), finished);
  erase(flight);
}

std::optional<MonoTime> FlightBoard::tick(MonoTime now, FinishedFills& finished) {
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    const auto call = deadlines_.begin()->second;
    const std::string why = call->trouble.empty() ? "" : ": " + call->trouble;
    finish(*call, fail(ErrorCode::deadline_exceeded, "the content did not come in time" + why), finished);
  }
  while (!delayed_.empty() && delayed_.begin()->first <= now) {
    Flight& flight = *delayed_.begin()->second;
    delayed_.erase(delayed_.begin());
    if (!has_open_call(flight, std::nullopt)) {
      flights_.erase({flight.pack.get(), flight.chunk.plain_offset});
      continue;
    }
    flight.state_ = Flight::State::queued;
    queue_.add(flight);
  }
  std::optional<MonoTime> next;
  if (!deadlines_.empty() && deadlines_.begin()->first != MonoTime::max()) next = deadlines_.begin()->first;
  if (!delayed_.empty() && (!next || delayed_.begin()->first < *next)) next = delayed_.begin()->first;
  return next;
}

FinishedFills FlightBoard::cancel_all() {
  FinishedFills finished;
  while (!deadlines_.empty()) {
    const auto call = deadlines_.begin()->second;
    finish(*call, fail(ErrorCode::cancelled, "imagefs is stopping"), finished);
  }
  std::vector<Flight*> waiting;
  for (const auto& [key, flight] : flights_) {
    if (flight->state_ != Flight::State::running) waiting.push_back(flight.get());
  }
  for (Flight* flight : waiting) erase(*flight);
  return finished;
}

bool FlightBoard::has_open_call(const Flight& flight, std::optional<Urgency> urgency) {
  return std::ranges::any_of(flight.calls_, [&urgency](const auto& call) {
    return !call->finished && (!urgency || call->urgency == *urgency);
  });
}

void FlightBoard::delay(Flight& flight, MonoTime until) {
  std::erase_if(flight.calls_, [](const auto& call) { return call->finished; });
  flight.state_ = Flight::State::delayed;
  flight.due_ = delayed_.emplace(until, &flight);
}

void FlightBoard::fail_calls(Flight& flight, const Error& error, FinishedFills& finished) {
  for (const auto& call : flight.calls_) {
    if (!call->finished) finish(*call, Unexpected(error), finished);
  }
}

void FlightBoard::finish(FillCall& call, Result<> result, FinishedFills& finished) {
  call.finished = true;
  if (call.urgency == Urgency::demand) --demand_calls_;
  finished.push_back({std::move(call.done), std::move(result), call.urgency, call.started});
  const auto entry = call.deadline;
  deadlines_.erase(entry);  // may be the last but one to know the call: flights know it, too
}

void FlightBoard::erase(Flight& flight) {
  if (flight.state_ == Flight::State::queued) queue_.remove(flight);
  if (flight.state_ == Flight::State::delayed) delayed_.erase(flight.due_);
  flights_.erase({flight.pack.get(), flight.chunk.plain_offset});
}

}  // namespace hearth::mount
