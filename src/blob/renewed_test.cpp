#include "blob/renewed.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

namespace hearth::blob {
namespace {

using Text = Renewed<std::string>;

/// Simulated time and source: every fetch gives the next number, good for an hour.
struct Source {
  std::atomic<int> fetches{0};
  std::atomic<bool> broken{false};
  std::atomic<int64_t> now_s{1'000'000};

  Text value() {
    return Text(
        [this]() -> Result<Text::Fetched> {
          if (broken) return fail(ErrorCode::unavailable, "no source");
          return Text::Fetched{.value = std::to_string(++fetches), .expires = now() + std::chrono::hours(1)};
        },
        [this] { return now(); });
  }
  WallTime now() const { return WallTime(std::chrono::seconds(now_s)); }
};

TEST(Renewed, IsFetchedOnceWhileItIsGood) {
  Source source;
  Text value = source.value();
  EXPECT_EQ(*value.get().value(), "1");
  source.now_s += 3000;
  EXPECT_EQ(*value.get().value(), "1");
}

TEST(Renewed, IsFetchedAgainBeforeItsEnd) {
  Source source;
  Text value = source.value();
  ASSERT_TRUE(value.get());
  source.now_s += 3600 - 299;
  EXPECT_EQ(*value.get().value(), "2");
}

TEST(Renewed, AFailedRenewalLeavesTheOldValueUntilItsEnd) {
  Source source;
  Text value = source.value();
  ASSERT_TRUE(value.get());
  source.broken = true;
  source.now_s += 3600 - 100;
  EXPECT_EQ(*value.get().value(), "1");
  source.now_s += 101;
  EXPECT_EQ(value.get().error().code, ErrorCode::unavailable);
  source.broken = false;
  EXPECT_EQ(*value.get().value(), "2");
}

TEST(Renewed, WhatWasRefusedIsFetchedAgainOnce) {
  Source source;
  Text value = source.value();
  const auto first = value.get().value();
  value.drop(first);
  const auto second = value.get().value();
  EXPECT_EQ(*second, "2");
  value.drop(first);  // a request that was under way with the old one
  EXPECT_EQ(*value.get().value(), "2");
}

TEST(Renewed, ManyThreadsShareOneFetch) {
  std::atomic<int> fetches{0};
  Text value([&fetches]() -> Result<Text::Fetched> {
    ++fetches;
    std::this_thread::sleep_for(milliseconds(20));
    return Text::Fetched{.value = "x", .expires = std::nullopt};
  });
  std::vector<std::jthread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&value] { EXPECT_EQ(*value.get().value(), "x"); });
  }
  threads.clear();
  EXPECT_EQ(fetches, 1);
}

TEST(Renewed, AFailureIsTheAnswerOfAllWhoWaited) {
  std::atomic<int> fetches{0};
  Text value([&fetches]() -> Result<Text::Fetched> {
    ++fetches;
    std::this_thread::sleep_for(milliseconds(20));
    return fail(ErrorCode::denied, "no");
  });
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&value] { EXPECT_EQ(value.get().error().code, ErrorCode::denied); });
  }
}

}  // namespace
}  // namespace hearth::blob
