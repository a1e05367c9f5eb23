#include "net/event_loop.hpp"

#include "base/unique_fd.hpp"
#include "net/blocking_pool.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <signal.h>
#include <sys/socket.h>

#include <array>
#include <latch>
#include <string>
#include <thread>
#include <vector>

namespace hearth::net {
namespace {

using testing::ElementsAre;

struct SocketPair {
  UniqueFd a, b;
  SocketPair() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()), 0);
    a = UniqueFd(ends[0]);
    b = UniqueFd(ends[1]);
  }
};

void nothing() {}

TEST(EventLoop, DeferredFunctionsRunAfterAllThatWasReady) {
  EventLoop loop;
  SocketPair first;
  SocketPair second;
  std::vector<std::string> order;
  auto on_ready = [&loop, &order](int fd, std::string name) {
    return [&loop, &order, fd, name](Readiness) {
      char byte = 0;
      EXPECT_EQ(::recv(fd, &byte, 1, 0), 1);
      order.push_back("read " + name);
      loop.defer([&order, name] { order.push_back("flush " + name); });
    };
  };
  Watch watch_first = loop.watch(first.a.get(), {.readable = true}, on_ready(first.a.get(), "1"));
  Watch watch_second = loop.watch(second.a.get(), {.readable = true}, on_ready(second.a.get(), "2"));
  ASSERT_EQ(::send(first.b.get(), "x", 1, 0), 1);
  ASSERT_EQ(::send(second.b.get(), "x", 1, 0), 1);
  ASSERT_TRUE(loop.run_until([&order] { return order.size() == 4; }));
  EXPECT_THAT(order, ElementsAre("read 1", "read 2", "flush 1", "flush 2"));
}

TEST(EventLoop, PostedFunctionsOfAThreadRunInOrderOnTheLoop) {
  EventLoop loop;
  std::vector<int> seen;
  std::jthread other([&loop, &seen] {
    for (int i = 0; i < 1000; ++i) loop.post([&seen, i] { seen.push_back(i); });
    loop.post([&loop] { loop.stop(); });
  });
  loop.run();
  ASSERT_EQ(seen.size(), 1000u);
  EXPECT_TRUE(std::ranges::is_sorted(seen));
}

TEST(EventLoop, TimersFireInTheOrderOfTheirTimes) {
  EventLoop loop;
  std::vector<int> order;
  MonoTime now = mono_now();
  Timer late = loop.call_at(now + milliseconds(3), [&order] { order.push_back(3); });
  Timer early = loop.call_at(now + milliseconds(1), [&order] { order.push_back(1); });
  Timer middle = loop.call_at(now + milliseconds(2), [&order] { order.push_back(2); });
  ASSERT_TRUE(loop.run_until([&order] { return order.size() == 3; }));
  EXPECT_THAT(order, ElementsAre(1, 2, 3));
  EXPECT_FALSE(late.is_set());
}

TEST(EventLoop, ATimerIsCancelledByItsOwner) {
  EventLoop loop;
  bool cancelled_ran = false;
  bool destroyed_ran = false;
  bool last_ran = false;
  Timer cancelled = loop.call_after(milliseconds(1), [&cancelled_ran] { cancelled_ran = true; });
  {
    Timer destroyed = loop.call_after(milliseconds(1), [&destroyed_ran] { destroyed_ran = true; });
  }
  Timer last = loop.call_after(milliseconds(2), [&last_ran] { last_ran = true; });
  cancelled.cancel();
  ASSERT_TRUE(loop.run_until([&last_ran] { return last_ran; }));
  EXPECT_FALSE(cancelled_ran);
  EXPECT_FALSE(destroyed_ran);
}

TEST(EventLoop, ARepeatedTimerMayCancelItself) {
  EventLoop loop;
  int count = 0;
  bool later = false;
  Timer repeated;
  Timer after;
  repeated = loop.call_every(milliseconds(1), [&loop, &count, &later, &repeated, &after] {
    if (++count < 3) return;
    repeated.cancel();
    after = loop.call_after(milliseconds(5), [&later] { later = true; });
  });
  ASSERT_TRUE(loop.run_until([&later] { return later; }));
  EXPECT_EQ(count, 3);
}

TEST(EventLoop, ATimerMayOutliveTheLoop) {
  Timer timer;
  {
    EventLoop loop;
    timer = loop.call_after(seconds(1), nothing);
  }
  timer.cancel();
}

TEST(EventLoop, AWatchMayDestroyItselfAndAnotherThatIsReadyToo) {
  EventLoop loop;
  SocketPair first;
  SocketPair second;
  int calls = 0;
  Watch watch_first;
  Watch watch_second;
  auto cancel_both = [&calls, &watch_first, &watch_second](Readiness) {
    ++calls;
    watch_first.cancel();
    watch_second.cancel();
  };
  watch_first = loop.watch(first.a.get(), {.readable = true}, cancel_both);
  watch_second = loop.watch(second.a.get(), {.readable = true}, cancel_both);
  ASSERT_EQ(::send(first.b.get(), "x", 1, 0), 1);
  ASSERT_EQ(::send(second.b.get(), "x", 1, 0), 1);
  loop.run_until([] { return false; }, milliseconds(5));
  EXPECT_EQ(calls, 1);
}

TEST(EventLoop, AWatchSaysThatThePeerHasGone) {
  EventLoop loop;
  SocketPair pair;
  Readiness seen;
  Watch watch = loop.watch(pair.a.get(), {.closed = true}, [&seen](Readiness readiness) { seen = readiness; });
  pair.b.reset();
  EXPECT_TRUE(loop.run_until([&seen] { return seen.closed; }));
}

Task<> sleep_and_note(EventLoop& loop, Duration duration, std::vector<Wake>& wakes) {
  Wake wake = co_await loop.sleep(duration);
  wakes.push_back(wake);
}

TEST(EventLoop, SleepEndsByItself) {
  EventLoop loop;
  std::vector<Wake> wakes;
  loop.spawn(sleep_and_note(loop, milliseconds(1), wakes));
  ASSERT_TRUE(loop.run_until([&wakes] { return !wakes.empty(); }));
  EXPECT_THAT(wakes, ElementsAre(Wake::timeout));
  EXPECT_EQ(loop.tasks(), 0u);
}

TEST(EventLoop, StopWakesSleepersAndRunAwaitsThem) {
  EventLoop loop;
  std::vector<Wake> wakes;
  loop.spawn(sleep_and_note(loop, seconds(3600), wakes));
  loop.spawn(sleep_and_note(loop, seconds(3600), wakes));
  Timer stop = loop.call_after(milliseconds(1), [&loop] { loop.stop(); });
  loop.run();
  EXPECT_THAT(wakes, ElementsAre(Wake::stopping, Wake::stopping));
}

Task<> wait_and_note(Event& event, Deadline deadline, std::vector<Wake>& wakes) {
  Wake wake = co_await event.wait_until(deadline);
  wakes.push_back(wake);
}

Task<> run_blocking(BlockingPool& pool, std::latch& release, bool& resumed) {
  auto block = [&release] { release.wait(); };
  co_await pool.run(block);
  resumed = true;
}

TEST(EventLoop, ATaskThatDoesNotEndIsAbandonedAfterTheGrace) {
  EventLoop loop;
  std::latch release(1);
  bool resumed = false;
  BlockingPool pool(loop, 1);
  loop.spawn(run_blocking(pool, release, resumed));
  loop.stop();
  loop.run(milliseconds(1));
  EXPECT_EQ(loop.tasks(), 1u);
  release.count_down();
  EXPECT_FALSE(resumed);
}

TEST(Event, WakesAllWhoWait) {
  EventLoop loop;
  Event event(loop);
  std::vector<Wake> wakes;
  loop.spawn(wait_and_note(event, {}, wakes));
  loop.spawn(wait_and_note(event, Deadline(mono_now() + seconds(3600)), wakes));
  loop.run_until([] { return false; }, milliseconds(1));
  EXPECT_TRUE(wakes.empty());
  event.set();
  ASSERT_TRUE(loop.run_until([&wakes] { return wakes.size() == 2; }));
  EXPECT_THAT(wakes, ElementsAre(Wake::signalled, Wake::signalled));
}

TEST(Event, LetsThroughWhoComesLater) {
  EventLoop loop;
  Event event(loop);
  std::vector<Wake> wakes;
  event.set();
  loop.spawn(wait_and_note(event, {}, wakes));
  EXPECT_TRUE(loop.run_until([&wakes] { return wakes.size() == 1; }));
}

TEST(Event, WaitingEndsAtTheDeadline) {
  EventLoop loop;
  Event event(loop);
  std::vector<Wake> wakes;
  loop.spawn(wait_and_note(event, Deadline(mono_now() + milliseconds(1)), wakes));
  ASSERT_TRUE(loop.run_until([&wakes] { return wakes.size() == 1; }));
  EXPECT_THAT(wakes, ElementsAre(Wake::timeout));
}

TEST(EventLoop, SignalsBecomeCalls) {
  EventLoop loop;
  int seen = 0;
  loop.on_signals({SIGUSR1}, [&seen](int number) { seen = number; });
  ::raise(SIGUSR1);
  EXPECT_TRUE(loop.run_until([&seen] { return seen == SIGUSR1; }));
}

Task<> compute(BlockingPool& pool, std::thread::id& where, Result<std::string>& value, bool& done) {
  auto work = [&where]() -> Result<std::string> {
    where = std::this_thread::get_id();
    return "computed";
  };
  Result<std::string> got = co_await pool.run(work);
  value = std::move(got);
  auto nothing_to_return = [] {};
  co_await pool.run(nothing_to_return);
  done = true;
}

TEST(BlockingPool, RunsWorkElsewhereAndResumesOnTheLoop) {
  EventLoop loop;
  BlockingPool pool(loop, 2);
  std::thread::id where;
  Result<std::string> value = fail(ErrorCode::internal, "not set");
  bool done = false;
  loop.spawn(compute(pool, where, value, done));
  ASSERT_TRUE(loop.run_until([&done] { return done; }));
  EXPECT_EQ(value.value(), "computed");
  EXPECT_NE(where, std::this_thread::get_id());
}

TEST(BlockingPool, CallsBackWithoutACoroutine) {
  EventLoop loop;
  BlockingPool pool(loop, 2);
  int sum = 0;
  int calls = 0;
  for (int i = 1; i <= 100; ++i) {
    pool.run_then([i] { return i; },
                  [&sum, &calls](int value) {
                    sum += value;
                    ++calls;
                  });
  }
  ASSERT_TRUE(loop.run_until([&calls] { return calls == 100; }));
  EXPECT_EQ(sum, 5050);
}

TEST(BlockingPool, FinishesWhatIsQueuedBeforeItGoes) {
  EventLoop loop;
  std::atomic<int> ran = 0;
  {
    BlockingPool pool(loop, 1);
    for (int i = 0; i < 50; ++i) pool.submit([&ran] { ++ran; });
  }
  EXPECT_EQ(ran, 50);
}

}  // namespace
}  // namespace hearth::net
