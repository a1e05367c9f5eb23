#include "blob/request_gate.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <thread>

namespace hearth::blob {
namespace {

Patience impatient() {
  return {.deadline = Deadline::after(mono_now(), milliseconds(20))};
}

TEST(RequestGate, KeepsPlacesFreeForDemandReads) {
  RequestGate gate(3, 2);
  auto one = gate.enter(Priority::prefetch, {});
  auto two = gate.enter(Priority::prefetch, {});
  EXPECT_EQ(gate.enter(Priority::prefetch, impatient()).error().code, ErrorCode::deadline_exceeded);
  auto three = gate.enter(Priority::demand, impatient());
  EXPECT_TRUE(three);
  EXPECT_EQ(gate.enter(Priority::demand, impatient()).error().code, ErrorCode::deadline_exceeded);
}

TEST(RequestGate, DemandGoesBeforePrefetchThatWaitsLonger) {
  RequestGate gate(1, 1);
  std::optional<RequestGate::Place> held = std::move(gate.enter(Priority::demand, {}).value());
  std::atomic<int> order{0};
  std::atomic<int> prefetch_was{0};
  std::atomic<int> demand_was{0};
  std::jthread prefetch([&] {
    const auto place = gate.enter(Priority::prefetch, {});
    prefetch_was = ++order;
  });
  std::this_thread::sleep_for(milliseconds(20));
  std::jthread demand([&] {
    const auto place = gate.enter(Priority::demand, {});
    demand_was = ++order;
  });
  std::this_thread::sleep_for(milliseconds(20));
  held.reset();
  prefetch.join();
  demand.join();
  EXPECT_EQ(demand_was, 1);
  EXPECT_EQ(prefetch_was, 2);
}

TEST(RequestGate, AWaitEndsWhenItsCallerGivesUp) {
  RequestGate gate(1, 1);
  const auto held = gate.enter(Priority::demand, {});
  std::stop_source stop;
  std::jthread stopper([&stop] { stop.request_stop(); });
  EXPECT_EQ(gate.enter(Priority::demand, {.stop = stop.get_token()}).error().code, ErrorCode::cancelled);
}

TEST(RequestGate, ADemandReadThatGaveUpHoldsNoPrefetchBack) {
  RequestGate gate(1, 1);
  std::optional<RequestGate::Place> held = std::move(gate.enter(Priority::demand, {}).value());
  EXPECT_FALSE(gate.enter(Priority::demand, impatient()));
  held.reset();
  EXPECT_TRUE(gate.enter(Priority::prefetch, impatient()));
}

}  // namespace
}  // namespace hearth::blob
