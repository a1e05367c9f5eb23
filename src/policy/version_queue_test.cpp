#include "policy/version_queue.hpp"

#include "policy/deadline_set.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

namespace hearth::policy {
namespace {

const MonoTime kNow{seconds(1000)};
Deadline in(Duration duration) {
  return Deadline::after(kNow, duration);
}

/// A queue whose rows take `service` each, `slots` at once.
VersionQueue learned(Duration service, uint32_t slots) {
  VersionQueue queue;
  queue.set_limit(slots);
  std::vector<uint64_t> passed;
  queue.offer({.request = 1'000'000, .rows = 32}, kNow);
  for (int i = 0; i < 32; ++i) {
    EXPECT_TRUE(queue.take(kNow, passed));
    queue.settle(service);
  }
  queue.forget(1'000'000);
  return queue;
}

/// Fills all slots and queues `rows` of `key`, one request a row.
void fill(VersionQueue& queue, uint64_t key, uint32_t rows, uint64_t first_id) {
  for (uint32_t i = 0; i < rows; ++i) {
    ASSERT_FALSE(queue.offer({.request = first_id + i, .key = key}, kNow)) << i;
  }
}

struct AdmissionRow {
  const char* name;
  Duration service;
  uint32_t slots;
  uint32_t queued;  // rows of the same key already queued
  uint32_t rows;    // of the request that arrives
  Duration time_left;
  bool admitted;
  int64_t retry_after_s;  // when refused
};
class Admission : public testing::TestWithParam<AdmissionRow> {};

TEST_P(Admission, IsBoundedInTime) {
  const auto& row = GetParam();
  VersionQueue queue = learned(row.service, row.slots);
  if (row.queued > 0) ASSERT_FALSE(queue.offer({.request = 1, .key = 7, .rows = row.queued}, kNow));
  const auto refusal = queue.offer({.request = 2, .key = 7, .rows = row.rows, .deadline = in(row.time_left)}, kNow);
  EXPECT_EQ(!refusal, row.admitted);
  if (refusal) EXPECT_EQ(refusal->retry_after.count(), row.retry_after_s);
}

INSTANTIATE_TEST_SUITE_P(
    VersionQueue, Admission,
    testing::Values(AdmissionRow{"EmptyQueue", seconds(1), 1, 0, 1, seconds(30), true, 0},
                    AdmissionRow{"BigBatchOnEmptyQueue", seconds(1), 1, 0, 5000, seconds(30), true, 0},
                    AdmissionRow{"OneRowBehindABigBatchTakesTurns", seconds(1), 1, 5000, 1, seconds(30), true, 0},
                    // 10 ms a row over 2 slots: 200 rows a second; 3000 rows are 15 s against a bound of 2 s.
                    AdmissionRow{"SecondBigBatch", milliseconds(10), 2, 3000, 3000, seconds(30), false, 14},
                    AdmissionRow{"SecondSmallBatch", milliseconds(10), 2, 300, 300, seconds(30), true, 0},
                    // 25 % of 4 s is 1 s: below the burst.
                    AdmissionRow{"ShortDeadlineBoundsTheWait", milliseconds(10), 2, 300, 300, seconds(4), false, 1},
                    // a few service times: 4 × 5 s = 20 s, but 25 % of 30 s is 7.5 s.
                    AdmissionRow{"SlowModel", seconds(5), 1, 10, 10, seconds(30), false, 47},
                    AdmissionRow{"SlowModelPatientClient", seconds(5), 1, 4, 4, seconds(300), true, 0},
                    AdmissionRow{"NoTimeLeft", milliseconds(1), 1, 1, 1, seconds(0), false, 1}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(VersionQueue, AdmitsEverybodyWhileNothingIsKnown) {
  VersionQueue queue;
  fill(queue, 1, 1000, 1);
  EXPECT_EQ(queue.queued_rows(), 1000u);
}

TEST(VersionQueue, BoundsMemoryWhateverTheClockSays) {
  VersionQueue queue(QueueLimits{.max_rows = 10, .max_bytes = 1000});
  EXPECT_FALSE(queue.offer({.request = 1, .rows = 8, .bytes = 100}, kNow));
  EXPECT_TRUE(queue.offer({.request = 2, .rows = 3, .bytes = 1}, kNow));
  EXPECT_TRUE(queue.offer({.request = 3, .rows = 1, .bytes = 901}, kNow));
  EXPECT_FALSE(queue.offer({.request = 4, .rows = 2, .bytes = 900}, kNow));
}

TEST(VersionQueue, ANoisyKeyGetsTheRefusalsNotItsNeighbour) {
  VersionQueue queue = learned(milliseconds(100), 1);
  uint32_t admitted = 0;
  for (uint64_t i = 0; i < 1000; ++i) {
    if (!queue.offer({.request = i, .key = 1, .deadline = in(seconds(10))}, kNow)) ++admitted;
  }
  EXPECT_EQ(admitted, 21u);  // 2 s of it
  EXPECT_FALSE(queue.offer({.request = 2000, .key = 2, .deadline = in(seconds(10))}, kNow));
  std::vector<uint64_t> passed;
  queue.set_limit(100);
  queue.take(kNow, passed);
  EXPECT_EQ(queue.take(kNow, passed)->request, 2000u);  // second turn is the neighbour's
}

TEST(VersionQueue, KeysTakeTurnsAndWithinAKeyRequestsDo) {
  VersionQueue queue;
  queue.set_limit(100);
  queue.offer({.request = 1, .key = 1, .rows = 3}, kNow);
  queue.offer({.request = 2, .key = 1, .rows = 1}, kNow);
  queue.offer({.request = 3, .key = 2, .rows = 2}, kNow);
  std::vector<uint64_t> passed;
  std::vector<std::pair<uint64_t, uint32_t>> order;
  while (const auto row = queue.take(kNow, passed)) order.emplace_back(row->request, row->row);
  const std::vector<std::pair<uint64_t, uint32_t>> expected{{1, 0}, {3, 0}, {2, 0}, {3, 1}, {1, 1}, {1, 2}};
  EXPECT_EQ(order, expected);
}

TEST(VersionQueue, SendsNoMoreThanTheLimit) {
  VersionQueue queue;
  queue.offer({.request = 1, .rows = 5}, kNow);
  std::vector<uint64_t> passed;
  EXPECT_FALSE(queue.take(kNow, passed));
  queue.set_limit(2);
  EXPECT_TRUE(queue.take(kNow, passed));
  EXPECT_TRUE(queue.take(kNow, passed));
  EXPECT_FALSE(queue.take(kNow, passed));
  queue.set_limit(1);  // lower than what is outstanding: wait for both
  queue.settle(milliseconds(1));
  EXPECT_FALSE(queue.take(kNow, passed));
  queue.settle(milliseconds(1));
  EXPECT_TRUE(queue.take(kNow, passed));
}

TEST(VersionQueue, SkipsWhatIsTooLateWhenItsTurnComes) {
  VersionQueue queue;
  queue.set_limit(10);
  queue.offer({.request = 1, .deadline = in(seconds(1))}, kNow);
  queue.offer({.request = 2, .deadline = in(seconds(5))}, kNow);
  std::vector<uint64_t> passed;
  EXPECT_EQ(queue.take(kNow + seconds(2), passed)->request, 2u);
  EXPECT_EQ(passed, std::vector<uint64_t>{1});
}

TEST(VersionQueue, TellsWhoCannotMakeItOnceItIsKnownHowFastItDrains) {
  VersionQueue queue;
  queue.set_limit(1);
  for (uint64_t i = 0; i < 30; ++i) ASSERT_FALSE(queue.offer({.request = i, .deadline = in(seconds(10))}, kNow));
  ASSERT_FALSE(queue.offer({.request = 100, .key = 9, .deadline = in(seconds(10))}, kNow));
  EXPECT_TRUE(queue.hopeless(kNow).empty()) << "nothing is known yet";
  std::vector<uint64_t> passed;
  queue.take(kNow, passed);
  queue.settle(seconds(1));
  const auto hopeless = queue.hopeless(kNow + seconds(1));  // nine seconds are left for 30 rows of a second
  ASSERT_FALSE(hopeless.empty());
  EXPECT_EQ(hopeless.front(), 10u);  // behind nine of its own key and one of the other
  EXPECT_EQ(hopeless.size(), 20u);
  for (const uint64_t id : hopeless) queue.forget(id);
  EXPECT_TRUE(queue.hopeless(kNow + seconds(1)).empty());
}

TEST(VersionQueue, ARowPutBackGoesFirstAmongItsRequests) {
  VersionQueue queue;
  queue.set_limit(10);
  queue.offer({.request = 1, .rows = 3}, kNow);
  std::vector<uint64_t> passed;
  const auto first = queue.take(kNow, passed);
  queue.put_back(*first);
  EXPECT_EQ(queue.outstanding(), 0u);
  EXPECT_EQ(queue.take(kNow, passed), first);
}

TEST(VersionQueue, ForgottenRequestsGiveNoRows) {
  VersionQueue queue;
  queue.set_limit(10);
  queue.offer({.request = 1, .rows = 3}, kNow);
  std::vector<uint64_t> passed;
  const auto taken = queue.take(kNow, passed);
  queue.forget(1);
  EXPECT_FALSE(queue.take(kNow, passed));
  queue.put_back(*taken);  // its answer comes late: nobody wants it
  EXPECT_FALSE(queue.take(kNow, passed));
  EXPECT_EQ(queue.queued_rows(), 0u);
}

/// Any sequence of events: every admitted row is given exactly once to each of its dispatches, none is lost, and the
/// counts agree with a plain model of the queue.
class AnySequence : public testing::TestWithParam<uint32_t> {};

TEST_P(AnySequence, LosesNothingAndGivesNothingTwice) {
  std::mt19937 random(GetParam());
  const auto pick = [&random](uint32_t below) { return static_cast<uint32_t>(random() % below); };
  VersionQueue queue(QueueLimits{.max_rows = 500});
  std::map<uint64_t, std::set<uint32_t>> waiting;  // rows not taken, per live request
  std::vector<DispatchRow> outstanding;
  uint64_t next_request = 1;
  MonoTime now = kNow;
  for (int step = 0; step < 5000; ++step) {
    now += milliseconds(pick(5));
    std::vector<uint64_t> passed;
    switch (pick(7)) {
      case 0:
      case 1: {
        const QueuedRequest request{.request = next_request++,
                                    .key = pick(4),
                                    .rows = 1 + pick(20),
                                    .bytes = pick(100),
                                    .deadline = Deadline::after(now, milliseconds(pick(400)))};
        if (queue.offer(request, now)) break;
        for (uint32_t row = 0; row < request.rows; ++row) waiting[request.request].insert(row);
        break;
      }
      case 2:
        queue.set_limit(pick(30));
        break;
      case 3:
        while (const auto row = queue.take(now, passed)) {
          ASSERT_EQ(waiting[row->request].erase(row->row), 1u) << "row given twice, or of nobody";
          outstanding.push_back(*row);
        }
        break;
      case 4:
        if (outstanding.empty()) break;
        queue.settle(milliseconds(1 + pick(10)));
        outstanding.pop_back();
        break;
      case 5: {
        if (outstanding.empty()) break;
        const DispatchRow row = outstanding.back();
        outstanding.pop_back();
        queue.put_back(row);
        if (waiting.contains(row.request)) waiting[row.request].insert(row.row);
        break;
      }
      default:
        if (waiting.empty()) break;
        passed.push_back(std::next(waiting.begin(), pick(static_cast<uint32_t>(waiting.size())))->first);
    }
    for (const uint64_t request : passed) {
      queue.forget(request);
      waiting.erase(request);
    }
    uint64_t rows = 0;
    for (const auto& [request, left] : waiting) rows += left.size();
    ASSERT_EQ(queue.queued_rows(), rows);
    ASSERT_EQ(queue.outstanding(), outstanding.size());
  }
}

INSTANTIATE_TEST_SUITE_P(VersionQueue, AnySequence, testing::Range(1u, 21u));

TEST(DeadlineSet, GivesWhatHasPassedEarliestFirst) {
  DeadlineSet set;
  set.add(1, in(seconds(3)));
  set.add(2, in(seconds(1)));
  set.add(3, in(seconds(2)));
  set.add(4, Deadline());
  set.remove(3, in(seconds(2)));
  EXPECT_EQ(set.earliest(), kNow + seconds(1));
  EXPECT_EQ(set.take_passed(kNow + seconds(10)), (std::vector<uint64_t>{2, 1}));
  EXPECT_EQ(set.size(), 0u);
}

}  // namespace
}  // namespace hearth::policy
