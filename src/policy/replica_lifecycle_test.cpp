#include "policy/replica_lifecycle.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace hearth::policy {
namespace {

using lifecycle::Action;
using lifecycle::ActionKind;
using lifecycle::ContactLost;
using lifecycle::ContactMade;
using lifecycle::Died;
using lifecycle::Event;
using lifecycle::Finished;
using lifecycle::Load;
using lifecycle::Reached;
using lifecycle::StartFailed;
using lifecycle::Stop;
using lifecycle::Stopped;
using lifecycle::Stuck;
using lifecycle::Tick;
using lifecycle::Wanted;
using lifecycle::WorkerDied;
using lifecycle::Workers;
using enum ReplicaState;
using enum ActionKind;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

LifecycleLimits limits() {
  return {.idle = {.pause = seconds(300), .stop = seconds(3600)},
          .start_timeout = seconds(600),
          .backoff_first = milliseconds(500),
          .backoff_max = seconds(60),
          .crash_loop_after = 5};
}

class ReplicaLifecycleTest : public ::testing::Test {
 protected:
  std::vector<ActionKind> step(const Event& event) {
    std::vector<ActionKind> kinds;
    last_ = life_.step(event, now_);
    for (const Action& action : last_) kinds.push_back(action.kind);
    return kinds;
  }
  void pass(Duration time) { now_ += time; }
  void start_until_ready() {
    step(Wanted{});
    step(Reached{starting});
    step(Reached{loading});
    step(Workers{1});
    ASSERT_EQ(life_.state(), ready);
  }
  /// What fail_waiters said last.
  std::string told() const {
    for (const Action& action : last_)
      if (action.kind == fail_waiters) return action.reason;
    return {};
  }

  MonoTime now_{seconds(1000)};
  ReplicaLifecycle life_{limits()};
  ReplicaLifecycle::Actions last_;
};

TEST_F(ReplicaLifecycleTest, GoesThroughEveryPhaseOfAStart) {
  EXPECT_THAT(step(Wanted{}), ElementsAre(announce, start));
  EXPECT_EQ(life_.state(), fetching);
  EXPECT_THAT(step(Reached{starting}), ElementsAre(announce));
  EXPECT_THAT(step(Reached{loading}), ElementsAre(announce));
  EXPECT_THAT(step(Workers{1}), ElementsAre(announce));
  EXPECT_EQ(life_.state(), ready);
}

TEST_F(ReplicaLifecycleTest, StartsOnceHoweverManyWant) {
  step(Wanted{});
  EXPECT_THAT(step(Wanted{}), IsEmpty());
  EXPECT_THAT(step(Load{5}), IsEmpty());
  step(Reached{starting});
  EXPECT_THAT(step(Wanted{}), IsEmpty());
}

TEST_F(ReplicaLifecycleTest, AFailedStartTellsItsWaitersAtOnceAndBacksOff) {
  step(Wanted{});
  EXPECT_THAT(step(StartFailed{"import error"}), ElementsAre(announce, fail_waiters));
  EXPECT_EQ(life_.state(), stopped);
  EXPECT_EQ(told(), "import error");
  EXPECT_TRUE(life_.has_failed());
  EXPECT_THAT(step(Wanted{}), ElementsAre(fail_waiters));
  EXPECT_EQ(told(), "import error");
  pass(milliseconds(500));
  EXPECT_THAT(step(Wanted{}), ElementsAre(announce, start));
}

TEST_F(ReplicaLifecycleTest, BackOffDoublesUpToItsLimitAndBecomesACrashLoop) {
  const std::vector<milliseconds> expected = {milliseconds(500),   milliseconds(1000),  milliseconds(2000),
                                              milliseconds(4000),  milliseconds(8000),  milliseconds(16000),
                                              milliseconds(32000), milliseconds(60000), milliseconds(60000)};
  for (size_t i = 0; i < expected.size(); ++i) {
    step(Wanted{});
    step(StartFailed{"setup raised"});
    EXPECT_EQ(life_.state(), i + 1 < 5 ? stopped : crash_loop) << i;
    EXPECT_EQ(*life_.retry_at() - now_, expected[i]) << i;
    pass(expected[i]);
  }
}

TEST_F(ReplicaLifecycleTest, AStopForgetsPastFailures) {
  step(Wanted{});
  step(StartFailed{"setup raised"});
  step(Stop{"forgotten"});
  EXPECT_THAT(step(Wanted{}), ElementsAre(announce, start));
}

TEST_F(ReplicaLifecycleTest, PausesWhenIdleAndThawsForTheNextCall) {
  start_until_ready();
  pass(seconds(299));
  EXPECT_THAT(step(Tick{}), IsEmpty());
  pass(seconds(1));
  EXPECT_THAT(step(Tick{}), ElementsAre(announce, pause));
  EXPECT_EQ(life_.state(), paused);
  EXPECT_THAT(step(Load{1}), ElementsAre(announce, thaw));
  EXPECT_EQ(life_.state(), ready);
}

TEST_F(ReplicaLifecycleTest, NeverPausesWhileARequestIsOutstanding) {
  start_until_ready();
  step(Load{1});
  pass(seconds(100000));
  EXPECT_THAT(step(Tick{}), IsEmpty());
  EXPECT_EQ(life_.next_wakeup(now_), std::nullopt);
  step(Load{0});
  EXPECT_EQ(life_.next_wakeup(now_), now_ + seconds(300));  // idle counts from the end of the last request
}

TEST_F(ReplicaLifecycleTest, StopsWhenIdleForLongAndTheNextCallJustWorks) {
  start_until_ready();
  pass(seconds(300));
  step(Tick{});
  pass(seconds(3300));
  EXPECT_THAT(step(Tick{}), ElementsAre(announce, stop));
  EXPECT_EQ(life_.state(), draining);
  EXPECT_THAT(step(Stopped{}), ElementsAre(announce));
  EXPECT_THAT(step(Load{1}), ElementsAre(announce, start));
}

TEST_F(ReplicaLifecycleTest, ARequestThatArrivesWhileItStopsStartsItAgainAfterwards) {
  start_until_ready();
  pass(seconds(3600));
  step(Tick{});
  EXPECT_THAT(step(Load{1}), IsEmpty());
  EXPECT_THAT(step(Stopped{}), ElementsAre(announce, announce, start));
}

TEST_F(ReplicaLifecycleTest, ADeathWhileServingStartsAgainAtOnceAndThenBacksOff) {
  start_until_ready();
  step(Load{3});
  EXPECT_THAT(step(Died{"killed by signal 9"}), ElementsAre(announce, announce, start));
  step(Reached{starting});
  step(Reached{loading});
  step(Workers{1});
  EXPECT_THAT(step(Died{"killed by signal 9"}), ElementsAre(announce));  // waiters go on waiting
  EXPECT_FALSE(life_.has_failed());
  EXPECT_TRUE(life_.will_start_again());
  EXPECT_THAT(step(Wanted{}), IsEmpty());
  ASSERT_TRUE(life_.next_wakeup(now_));
  now_ = *life_.next_wakeup(now_);
  EXPECT_THAT(step(Tick{}), ElementsAre(announce, start));
}

TEST_F(ReplicaLifecycleTest, AContainersDeathThatBeginsWithItsWorkersIsNoFailedStart) {
  start_until_ready();
  step(Load{1});
  step(Workers{0});
  EXPECT_THAT(step(Died{"killed by signal 9"}), ElementsAre(announce, announce, start));
}

TEST_F(ReplicaLifecycleTest, ADeathBeforeAnyWorkerWasReadyIsAFailedStart) {
  step(Wanted{});
  step(Reached{loading});
  EXPECT_THAT(step(Died{"exit code 2"}), ElementsAre(announce, fail_waiters));
}

TEST_F(ReplicaLifecycleTest, RepeatedDeathsEndInACrashLoopThatTellsTheReason) {
  start_until_ready();
  step(Load{1});
  for (int i = 1; i < 5; ++i) {
    step(Died{"out of memory"});
    if (life_.state() == stopped) {
      now_ = *life_.next_wakeup(now_);
      step(Tick{});
    }
    step(Reached{loading});
    step(Workers{1});
    ASSERT_EQ(life_.state(), ready) << i;
  }
  step(Died{"out of memory"});
  EXPECT_EQ(life_.state(), crash_loop);
  EXPECT_EQ(told(), "out of memory");
}

TEST_F(ReplicaLifecycleTest, AFinishedRequestEndsTheCount) {
  start_until_ready();
  for (int i = 0; i < 20; ++i) {
    step(Died{"exit code 1"});
    step(Reached{loading});
    step(Workers{1});
    step(Finished{});
  }
  EXPECT_EQ(life_.state(), ready);
  EXPECT_EQ(life_.failures_in_a_row(), 0U);
}

TEST_F(ReplicaLifecycleTest, LoadingAgainWhenTheLastWorkerDies) {
  start_until_ready();
  step(WorkerDied{"signal 11"});
  EXPECT_THAT(step(Workers{0}), ElementsAre(announce));
  EXPECT_EQ(life_.state(), loading);
  EXPECT_THAT(step(Workers{1}), ElementsAre(announce));
  EXPECT_EQ(life_.state(), ready);
}

TEST_F(ReplicaLifecycleTest, AStartThatNeverGetsReadyIsGivenUpAfterItsTimeout) {
  step(Wanted{});
  step(Reached{loading});
  EXPECT_EQ(life_.next_wakeup(now_), now_ + seconds(600));
  pass(seconds(600));
  EXPECT_THAT(step(Tick{}), ElementsAre(announce, stop, fail_waiters));
  EXPECT_THAT(step(Wanted{}), ElementsAre(fail_waiters));
  step(Stopped{});
  EXPECT_EQ(life_.state(), stopped);
  EXPECT_THAT(life_.reason(), ::testing::HasSubstr("start timeout"));
}

TEST_F(ReplicaLifecycleTest, AStuckWorkerCostsTheContainerAndItStartsAgain) {
  start_until_ready();
  step(Load{2});
  EXPECT_THAT(step(Stuck{"worker 0 does not die"}), ElementsAre(announce, announce, stop));
  EXPECT_THAT(step(Stopped{}), ElementsAre(announce, announce, start));
}

TEST_F(ReplicaLifecycleTest, UnknownIsKeptUntilItAnswers) {
  start_until_ready();
  EXPECT_THAT(step(ContactLost{}), ElementsAre(announce));
  EXPECT_EQ(life_.state(), unknown);
  EXPECT_THAT(step(Wanted{}), IsEmpty());
  pass(seconds(100000));
  EXPECT_THAT(step(Tick{}), IsEmpty());
  step(ContactMade{.frozen = false});
  EXPECT_EQ(life_.state(), ready);
}

TEST_F(ReplicaLifecycleTest, AnAdoptedReplicaMayComeBackFrozen) {
  step(ContactLost{});  // found on disk, its process lives
  EXPECT_EQ(life_.state(), unknown);
  step(ContactMade{.frozen = true});
  EXPECT_EQ(life_.state(), paused);
  EXPECT_THAT(step(Load{1}), ElementsAre(announce, thaw));
}

TEST_F(ReplicaLifecycleTest, StoppedWhileItStartsIsNoFailure) {
  step(Wanted{});
  EXPECT_THAT(step(Stop{"forgotten"}), ElementsAre(announce, stop));
  step(StartFailed{"given up"});
  EXPECT_EQ(life_.state(), stopped);
  EXPECT_EQ(life_.retry_at(), std::nullopt);
}

/// Any event in any order: no illegal arrow (the machine checks itself), and the promises below.
TEST(ReplicaLifecycleRandom, KeepsItsPromisesUnderAnyOrderOfEvents) {
  for (uint32_t seed = 0; seed < 300; ++seed) {
    std::mt19937 random(seed);
    ReplicaLifecycle life(limits());
    MonoTime now{seconds(1000)};
    uint64_t outstanding = 0;
    for (int i = 0; i < 400; ++i) {
      now += milliseconds(random() % 200000);
      const ReplicaState before = life.state();
      Event event;
      switch (random() % 14) {
        case 0:
          event = Wanted{};
          break;
        case 1:
          event = Reached{starting};
          break;
        case 2:
          event = Reached{loading};
          break;
        case 3:
          event = Workers{static_cast<uint32_t>(random() % 3)};
          break;
        case 4:
          event = StartFailed{"start failed"};
          break;
        case 5:
          event = WorkerDied{"worker died"};
          break;
        case 6:
          event = Died{"died"};
          break;
        case 7:
          outstanding = random() % 2;
          event = Load{outstanding};
          break;
        case 8:
          event = Finished{};
          break;
        case 9:
          event = Stuck{"stuck"};
          break;
        case 10:
          event = ContactLost{};
          break;
        case 11:
          event = ContactMade{random() % 2 == 0};
          break;
        case 12:
          event = random() % 2 == 0 ? Event(Stop{"stop"}) : Event(Stopped{});
          break;
        default:
          event = Tick{};
          break;
      }
      for (const Action& action : life.step(event, now)) {
        if (action.kind == start) {
          EXPECT_TRUE(!has_process(before) || life.state() == fetching) << seed;
        }
        if (action.kind == pause) {
          EXPECT_EQ(outstanding, 0U) << "seed " << seed;
        }
        if (action.kind == fail_waiters) {
          EXPECT_FALSE(action.reason.empty()) << "seed " << seed;
        }
      }
      if (const auto wakeup = life.next_wakeup(now); wakeup && *wakeup <= now) {
        life.step(Tick{}, now);  // what is due must lead somewhere, or the node would spin
        const auto again = life.next_wakeup(now);
        EXPECT_TRUE(!again || *again > now) << "seed " << seed << " " << to_string(life.state());
      }
    }
  }
}

}  // namespace
}  // namespace hearth::policy
