#include "mount/expected_pages.hpp"

#include <gtest/gtest.h>

#include <future>

namespace hearth::mount {
namespace {

const Digest kPack = Digest::of("pack");
const Digest kOther = Digest::of("other pack");

/// Three runs of one pack, two of them neighbours that come in the wrong order.
ExpectedRuns runs() {
  return ExpectedRuns({{kPack,
                        {{.offset = 65536, .length = 4096, .position = 4096},
                         {.offset = 8192, .length = 8192, .position = 12288},
                         {.offset = 0, .length = 8192, .position = 20480}}}});
}

TEST(ExpectedRuns, SayWhereTheStreamWillHavePassedARange) {
  EXPECT_EQ(runs().position_of(kPack, 65536, 4096), 4096U);
  EXPECT_EQ(runs().position_of(kPack, 8192, 4096), 12288U);
  EXPECT_EQ(runs().position_of(kPack, 4096, 8192), 20480U) << "a range over two runs waits for the later one";
}

TEST(ExpectedRuns, DoNotPromiseARangeThatTheyHoldAPartOf) {
  EXPECT_EQ(runs().position_of(kPack, 12288, 8192), std::nullopt);
  EXPECT_EQ(runs().position_of(kPack, 61440, 8192), std::nullopt);
  EXPECT_EQ(runs().position_of(kPack, 69632, 4096), std::nullopt);
  EXPECT_EQ(runs().position_of(kOther, 0, 4096), std::nullopt);
  EXPECT_EQ(runs().position_of(kPack, 0, 0), std::nullopt);
}

TEST(StreamPace, TellsTheTimeFromTheMeanRateAndNoticesAStandstill) {
  StreamPace pace;
  const MonoTime begin{seconds(100)};
  EXPECT_EQ(pace.time_to(1, begin), std::nullopt);
  pace.reached(1000, begin);
  EXPECT_EQ(pace.time_to(2000, begin + seconds(1)), std::nullopt) << "one point is no rate";
  pace.reached(3000, begin + seconds(1));
  EXPECT_EQ(pace.time_to(3000, begin + seconds(1)), Duration::zero());
  EXPECT_EQ(pace.time_to(5000, begin + seconds(1)), seconds(1));
  EXPECT_EQ(pace.time_to(5000, begin + seconds(10)), seconds(10));
}

struct Asked {
  std::promise<void> told;
  bool taken = false;
  bool is_told() { return future.wait_for(seconds(0)) == std::future_status::ready; }
  std::future<void> future = told.get_future();
};

std::unique_ptr<Asked> ask(ExpectedPages& pages, uint64_t offset, const Digest& pack = kPack) {
  auto asked = std::make_unique<Asked>();
  DemandGate::Again again = [told = &asked->told] { told->set_value(); };
  asked->taken = pages.wait(pack, offset, 4096, again);
  EXPECT_NE(asked->taken, static_cast<bool>(again)) << "the callback is taken with a promise, and only then";
  return asked;
}

constexpr ExpectedWait kPatient{.longest = seconds(3600), .patience = seconds(3600)};

TEST(ExpectedPages, AReadOfWhatIsOnItsWayIsToldWhenItIsStored) {
  ExpectedPages pages(kPatient);
  const auto promise = pages.promise(runs());
  const auto first = ask(pages, 65536);
  const auto last = ask(pages, 0);
  EXPECT_TRUE(first->taken && last->taken);
  promise->arrived(4096);
  EXPECT_TRUE(first->is_told());
  EXPECT_FALSE(last->is_told());
  promise->arrived(20480);
  EXPECT_TRUE(last->is_told());
  EXPECT_EQ(pages.counts().waits, 2U);
  EXPECT_EQ(pages.counts().in_vain, 0U);
}

TEST(ExpectedPages, AReadOfSomethingElseIsToFetch) {
  ExpectedPages pages(kPatient);
  EXPECT_FALSE(ask(pages, 0)->taken) << "no bundle is on its way";
  const auto promise = pages.promise(runs());
  EXPECT_FALSE(ask(pages, 0, kOther)->taken);
  EXPECT_FALSE(ask(pages, 1 << 20)->taken);
}

TEST(ExpectedPages, APackIsExpectedAsLongAsABundleBringsPagesOfIt) {
  ExpectedPages pages(kPatient);
  EXPECT_FALSE(pages.expects(kPack));
  auto promise = pages.promise(runs());
  EXPECT_TRUE(pages.expects(kPack));
  EXPECT_FALSE(pages.expects(kOther));
  promise.reset();
  EXPECT_FALSE(pages.expects(kPack));
}

TEST(ExpectedPages, WhatWasStoredMeanwhileIsLookedAtAgainAtOnce) {
  ExpectedPages pages(kPatient);
  const auto promise = pages.promise(runs());
  promise->arrived(4096);
  const auto asked = ask(pages, 65536);
  EXPECT_TRUE(asked->taken);
  EXPECT_TRUE(asked->is_told());
}

TEST(ExpectedPages, TheEndOfABundleTellsAllThatWaitForIt) {
  ExpectedPages pages(kPatient);
  auto promise = pages.promise(runs());
  const auto asked = ask(pages, 0);
  promise.reset();
  EXPECT_TRUE(asked->is_told());
  EXPECT_FALSE(ask(pages, 0)->taken);
}

TEST(ExpectedPages, PatienceEnds) {
  ExpectedPages pages({.longest = seconds(3600), .patience = milliseconds(1)});
  const auto promise = pages.promise(runs());
  const auto first = ask(pages, 0);
  ASSERT_TRUE(first->taken);
  first->future.wait();
  const auto second = ask(pages, 0);
  second->future.wait();
  EXPECT_EQ(pages.counts().in_vain, 2U);
}

TEST(ExpectedPages, WhatIsFarAwayIsFetched) {
  ExpectedPages pages({.longest = Duration(1), .patience = seconds(3600)});
  const auto promise = pages.promise(runs());
  promise->arrived(1);
  promise->arrived(2);  // some rate is known now, and a nanosecond is too short for the rest
  EXPECT_FALSE(ask(pages, 0)->taken);
}

}  // namespace
}  // namespace hearth::mount
