#include "policy/start_gate.hpp"

#include <gtest/gtest.h>

namespace hearth::policy {
namespace {

using Kind = GateVerdict::Kind;
const MonoTime kStart{seconds(1000)};
const Deadline kPatient = Deadline::after(kStart, seconds(3600));

TEST(StartGate, AsksForTheStartOnceHoweverManyWait) {
  StartGate gate;
  const auto first = gate.arrive(kPatient, kStart);
  EXPECT_EQ(first.kind, Kind::wait);
  EXPECT_EQ(first.start, StartNode::yes);
  for (int i = 0; i < 100; ++i) {
    const auto next = gate.arrive(kPatient, kStart + milliseconds(i));
    EXPECT_EQ(next.kind, Kind::wait);
    EXPECT_EQ(next.start, StartNode::no);
  }
}

TEST(StartGate, OpensWhenTheNodeSaysReady) {
  StartGate gate;
  gate.arrive(kPatient, kStart);
  EXPECT_EQ(gate.report({.state = TargetState::absent}, kStart), GateChange::none);
  EXPECT_EQ(gate.report({.state = TargetState::loading, .phase = "import"}, kStart), GateChange::none);
  EXPECT_EQ(gate.report({.state = TargetState::ready}, kStart + seconds(3)), GateChange::opened);
  EXPECT_EQ(gate.report({.state = TargetState::ready}, kStart + seconds(4)), GateChange::none);
  EXPECT_EQ(gate.arrive(kPatient, kStart + seconds(4)).kind, Kind::go);
}

TEST(StartGate, AFailureFailsAllAndIsAnsweredAtOnceUntilTheNextTry) {
  StartGate gate;
  gate.arrive(kPatient, kStart);
  EXPECT_EQ(gate.report({.state = TargetState::failed, .reason = "no module named x"}, kStart), GateChange::failed);
  const auto refused = gate.arrive(kPatient, kStart + milliseconds(1));
  EXPECT_EQ(refused.kind, Kind::refuse);
  EXPECT_EQ(refused.reason, "no module named x");
  EXPECT_EQ(refused.retry_after, seconds(1));
  const auto again = gate.arrive(kPatient, kStart + seconds(1));
  EXPECT_EQ(again.kind, Kind::wait);
  EXPECT_EQ(again.start, StartNode::yes);
}

struct BackOffRow {
  const char* name;
  int failures;
  seconds expected;
};
class BackOff : public testing::TestWithParam<BackOffRow> {};

TEST_P(BackOff, DoublesUpToAMinute) {
  StartGate gate;
  MonoTime now = kStart;
  for (int i = 0; i < GetParam().failures; ++i) {
    now += seconds(120);
    EXPECT_EQ(gate.arrive(kPatient, now).start, StartNode::yes);
    EXPECT_EQ(gate.report({.state = TargetState::failed, .reason = "boom"}, now), GateChange::failed);
  }
  EXPECT_EQ(gate.arrive(kPatient, now).retry_after, GetParam().expected);
}

INSTANTIATE_TEST_SUITE_P(StartGate, BackOff,
                         testing::Values(BackOffRow{"First", 1, seconds(1)}, BackOffRow{"Second", 2, seconds(2)},
                                         BackOffRow{"Third", 3, seconds(4)}, BackOffRow{"Many", 40, seconds(60)}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(StartGate, ACrashLoopIsAnsweredAtOnceEvenWhileTheNextTryRuns) {
  StartGate gate;
  MonoTime now = kStart;
  for (int i = 0; i < 3; ++i) {
    now += seconds(60);
    gate.arrive(kPatient, now);
    gate.report({.state = TargetState::failed, .reason = "boom"}, now);
  }
  now += seconds(60);
  const auto trying = gate.arrive(kPatient, now);
  EXPECT_EQ(trying.kind, Kind::refuse);
  EXPECT_EQ(trying.start, StartNode::yes);  // it is tried again all the same
  EXPECT_EQ(trying.reason, "boom");
  EXPECT_EQ(gate.report({.state = TargetState::ready}, now), GateChange::opened);
  EXPECT_EQ(gate.arrive(kPatient, now).kind, Kind::go);
}

TEST(StartGate, AServedRequestEndsTheHistoryOfFailures) {
  StartGate gate;
  gate.report({.state = TargetState::failed, .reason = "a"}, kStart);
  gate.report({.state = TargetState::failed, .reason = "a"}, kStart + seconds(100));
  gate.report({.state = TargetState::ready}, kStart + seconds(200));
  gate.served();
  gate.report({.state = TargetState::failed, .reason = "b"}, kStart + seconds(300));
  EXPECT_EQ(gate.retry_after(kStart + seconds(300)), seconds(1));
}

TEST(StartGate, RefusesWhoCannotWaitAsLongAsTheStartWillTake) {
  StartGate gate;
  gate.arrive(kPatient, kStart);
  gate.report({.state = TargetState::fetching, .phase = "fetch", .estimate = seconds(40)}, kStart);
  const auto hasty = gate.arrive(Deadline::after(kStart, seconds(5)), kStart);
  EXPECT_EQ(hasty.kind, Kind::refuse);
  EXPECT_EQ(hasty.retry_after, seconds(40));
  EXPECT_EQ(hasty.reason, "starting (fetch), ready in about 40s");
  EXPECT_EQ(gate.arrive(kPatient, kStart).kind, Kind::wait);
}

TEST(StartGate, LearnsHowLongAStartTakes) {
  StartGate gate;
  gate.arrive(kPatient, kStart);
  gate.report({.state = TargetState::loading}, kStart);
  gate.report({.state = TargetState::ready}, kStart + seconds(20));
  gate.report({.state = TargetState::absent}, kStart + seconds(600));
  const MonoTime later = kStart + seconds(700);
  const auto hasty = gate.arrive(Deadline::after(later, seconds(1)), later);
  EXPECT_EQ(hasty.kind, Kind::refuse);
  EXPECT_EQ(hasty.start, StartNode::yes);
  EXPECT_EQ(hasty.retry_after, seconds(20));
}

TEST(StartGate, RefusesNobodyByALearnedStartWhileItIsNotKnownThatOneIsNeeded) {
  StartGate gate;
  gate.arrive(kPatient, kStart);
  gate.report({.state = TargetState::loading}, kStart);
  gate.report({.state = TargetState::ready}, kStart + seconds(20));
  gate.forget_state();  // the node died; its replica lives on
  const MonoTime later = kStart + seconds(30);
  EXPECT_EQ(gate.arrive(Deadline::after(later, seconds(1)), later).kind, Kind::wait);
  gate.report({.state = TargetState::absent}, later);  // it does not
  EXPECT_EQ(gate.arrive(Deadline::after(later, seconds(1)), later).kind, Kind::refuse);
}

TEST(StartGate, AStoppedIdleReplicaIsStartedByTheNextRequest) {
  StartGate gate;
  gate.report({.state = TargetState::ready}, kStart);
  EXPECT_EQ(gate.report({.state = TargetState::absent}, kStart), GateChange::closed);
  EXPECT_EQ(gate.arrive(kPatient, kStart).start, StartNode::yes);
}

TEST(StartGate, APausedReplicaTakesRequests) {
  StartGate gate;
  gate.report({.state = TargetState::ready}, kStart);
  EXPECT_EQ(gate.report({.state = TargetState::paused}, kStart), GateChange::none);
  EXPECT_EQ(gate.arrive(kPatient, kStart).kind, Kind::go);
  StartGate fresh;
  EXPECT_EQ(fresh.report({.state = TargetState::paused}, kStart), GateChange::opened);
}

TEST(StartGate, AStartGivenUpOnTheWayIsAskedForAgain) {
  StartGate gate;
  gate.arrive(kPatient, kStart);
  gate.report({.state = TargetState::fetching}, kStart);
  EXPECT_EQ(gate.report({.state = TargetState::absent}, kStart), GateChange::closed);
  EXPECT_EQ(gate.arrive(kPatient, kStart).start, StartNode::yes);
}

TEST(StartGate, ASilentStartIsAskedForAgain) {
  StartGate gate;
  gate.arrive(kPatient, kStart);
  EXPECT_EQ(gate.arrive(kPatient, kStart + seconds(29)).start, StartNode::no);
  EXPECT_EQ(gate.arrive(kPatient, kStart + seconds(31)).start, StartNode::yes);
  EXPECT_EQ(gate.arrive(kPatient, kStart + seconds(32)).start, StartNode::no);
}

}  // namespace
}  // namespace hearth::policy
