#include "mount/flight_board.hpp"

#include "mount/testing/fetcher_fixture.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hearth::mount {
namespace {

using testing::FetcherFixture;
using ::testing::HasSubstr;
using testing::must;
using testing::noise;
using Kind = FetchFailure::Kind;

/// The bookkeeping alone: nothing is read, time is told.
class FlightBoardTest : public FetcherFixture {
 protected:
  void SetUp() override { start({{"a", noise(300'000, 1)}, {"b", noise(100'000, 2)}}); }
  const FetchLoad idle{.workers = 4, .in_flight_max = uint64_t{64} << 20};
  const MonoTime now = MonoTime(seconds(1000));

  /// Answers land in `answers`.
  FlightBoard::Fill call(Urgency urgency = Urgency::demand, Duration deadline = seconds(60)) {
    return {.urgency = urgency,
            .deadline = Deadline(now + deadline),
            .range = {0, pack()->plain_size()},
            .done = [this](Result<> result) { answers.push_back(std::move(result)); }};
  }
  static void tell(FinishedFills finished) {
    for (auto& fill : finished) fill.done(std::move(fill.result));
  }
  void fail_all(FlightBoard::TakenRun& taken, Kind kind, ErrorCode code, MonoTime at) {
    FinishedFills finished;
    for (auto* flight : taken.flights) board.failed(*flight, {kind, {code, "simulated"}}, at, finished);
    tell(std::move(finished));
  }
  std::optional<MonoTime> tick(MonoTime at) {
    FinishedFills finished;
    const auto next = board.tick(at, finished);
    tell(std::move(finished));
    return next;
  }

  FlightBoard board{0};
  std::vector<Result<>> answers;
};

TEST_F(FlightBoardTest, ACallIsOverWhenAllItsFlightsHaveLanded) {
  tell(board.add(pack(), chunks(), call(), now));
  EXPECT_EQ(board.demand_calls(), 1u);
  auto taken = board.take(idle, now).value();
  ASSERT_EQ(taken.flights.size(), 2u);
  EXPECT_EQ(taken.precedence, FetchClass::demand);
  EXPECT_EQ(taken.bytes, 400'000u);
  FinishedFills finished;
  EXPECT_FALSE(board.try_to_land(*taken.flights[0], finished));  // nothing is stored yet
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_TRUE(answers.empty());
    const auto& chunk = taken.run.items[i].chunk;
    must(pack()->store(chunk.plain_offset, testing::plain_bytes(layers, *index, chunk.number)));
    EXPECT_TRUE(board.try_to_land(*taken.flights[i], finished));
    tell(std::move(finished));
    finished.clear();
  }
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_TRUE(answers[0].has_value());
  EXPECT_EQ(board.flight_count(), 0u);
  EXPECT_EQ(board.demand_calls(), 0u);
}

TEST_F(FlightBoardTest, ACallWithNothingToFetchIsOverAtOnce) {
  tell(board.add(pack(), {}, call(), now));
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_TRUE(answers[0].has_value());
}

TEST_F(FlightBoardTest, TroubleIsFollowedByLongerAndLongerPauses) {
  tell(board.add(pack(), chunks(), call(), now));
  auto at = now;
  Duration before{};
  for (int attempt = 0; attempt < 8; ++attempt) {
    auto taken = board.take(idle, at).value();
    fail_all(taken, Kind::trouble, ErrorCode::unavailable, at);
    EXPECT_EQ(board.take(idle, at), std::nullopt);
    const auto next = tick(at).value();
    const Duration pause = next - at;
    EXPECT_LE(pause, kRetryLongest);
    if (attempt < 4) EXPECT_GT(pause, before);
    before = pause;
    at += kRetryLongest;
    tick(at);
  }
  EXPECT_TRUE(answers.empty());
}

TEST_F(FlightBoardTest, TheDeadlineEndsTheCallAndThenTheFlights) {
  tell(board.add(pack(), chunks(), call(Urgency::demand, seconds(1)), now));
  auto taken = board.take(idle, now).value();
  fail_all(taken, Kind::trouble, ErrorCode::unavailable, now + milliseconds(990));
  tick(now + seconds(1));
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].error().code, ErrorCode::deadline_exceeded);
  EXPECT_THAT(answers[0].error().message, HasSubstr("simulated"));
  tick(now + seconds(5));
  EXPECT_EQ(board.flight_count(), 0u);  // nobody waits any more: not asked again
}

TEST_F(FlightBoardTest, AFlightOutlivesACallThatRanOutOfTime) {
  tell(board.add(pack(), chunks(), call(Urgency::demand, seconds(1)), now));
  tell(board.add(pack(), chunks(), call(Urgency::demand, seconds(9)), now));
  tick(now + seconds(1));
  EXPECT_EQ(answers.size(), 1u);
  const auto taken = board.take(idle, now + seconds(1)).value();
  EXPECT_EQ(taken.run.deadline.at(), now + seconds(9));
}

TEST_F(FlightBoardTest, WrongBytesAreReadAgainInTheNextRoundAndThenGivenUp) {
  tell(board.add(pack(), chunks(), call(), now));
  auto at = now;
  for (uint32_t round = 0; round < kWrongRoundsMax; ++round) {
    ASSERT_TRUE(answers.empty());
    auto taken = board.take(idle, at).value();
    EXPECT_EQ(taken.run.round, round);
    fail_all(taken, Kind::wrong, ErrorCode::corrupt, at);
    at += kRetryLongest;
    tick(at);
  }
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].error().code, ErrorCode::corrupt);
}

TEST_F(FlightBoardTest, WhatOurOwnDiskRefusesIsToldAtOnce) {
  tell(board.add(pack(), chunks(), call(), now));
  auto taken = board.take(idle, now).value();
  fail_all(taken, Kind::local, ErrorCode::exhausted, now);
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].error().code, ErrorCode::exhausted);
  EXPECT_EQ(board.flight_count(), 0u);
}

TEST_F(FlightBoardTest, DemandThatJoinsAPrefetchMakesItRepeatable) {
  tell(board.add(pack(), chunks(), call(Urgency::prefetch), now));
  tell(board.add(pack(), chunks(), call(Urgency::demand), now));
  auto taken = board.take(idle, now).value();
  EXPECT_EQ(taken.precedence, FetchClass::demand);
  fail_all(taken, Kind::trouble, ErrorCode::unavailable, now);
  EXPECT_TRUE(answers.empty());  // the prefetch alone would have been told
  EXPECT_EQ(board.flight_count(), 2u);
}

TEST_F(FlightBoardTest, WhatIsOrderedAheadIsMarkedUntilSomebodyWaitsForIt) {
  const auto all = chunks();
  board.order_ahead(pack(), all[0], true, now);
  board.order_ahead(pack(), all[0], true, now);  // is on its way
  EXPECT_EQ(board.flight_count(), 1u);
  auto taken = board.take(idle, now).value();
  EXPECT_EQ(taken.precedence, FetchClass::ahead);
  EXPECT_TRUE(taken.run.items[0].mark);
  FinishedFills finished;
  EXPECT_TRUE(board.try_to_land(*taken.flights[0], finished));  // nobody awaits a page of it
  board.order_ahead(pack(), all[0], true, now);
  tell(board.add(pack(), {all[0]}, call(), now));
  EXPECT_FALSE(board.take(idle, now)->run.items[0].mark);
}

TEST_F(FlightBoardTest, CancellingTellsEveryCallOnce) {
  tell(board.add(pack(), chunks(), call(), now));
  auto taken = board.take(idle, now).value();
  tell(board.add(pack(), chunks(), call(Urgency::prefetch), now));
  tell(board.cancel_all());
  ASSERT_EQ(answers.size(), 2u);
  for (const auto& answer : answers) EXPECT_EQ(answer.error().code, ErrorCode::cancelled);
  fail_all(taken, Kind::trouble, ErrorCode::unavailable, now);  // the worker comes back
  EXPECT_EQ(answers.size(), 2u);
  EXPECT_EQ(board.flight_count(), 0u);
}

}  // namespace
}  // namespace hearth::mount
