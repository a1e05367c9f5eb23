#include "image/start_history.hpp"

#include <gtest/gtest.h>

namespace hearth::image {
namespace {

StartHistory history_of(std::initializer_list<PageRuns> starts) {
  StartHistory history;
  for (const PageRuns& start : starts) remember(history, start);
  return history;
}

TEST(PageSet, HoldsEachPageOnceAndSaysWhatIsNew) {
  PageSet set;
  PageRuns added;
  set.insert({7, 10, 4}, &added);
  EXPECT_EQ(added, (PageRuns{{7, 10, 4}}));
  added.clear();
  set.insert({7, 8, 8}, &added);
  EXPECT_EQ(added, (PageRuns{{7, 8, 2}, {7, 14, 2}}));
  EXPECT_EQ(set.pages(), 8U);
  EXPECT_TRUE(set.contains(7, 8));
  EXPECT_FALSE(set.contains(7, 16));
  EXPECT_FALSE(set.contains(8, 8));
  EXPECT_EQ(set.count({7, 12, 10}), 4U);
  EXPECT_EQ(set.pages_in_both(PageSet({{7, 0, 10}, {9, 0, 1}})), 2U);
}

TEST(PageSet, HoldsTheLastPageOfALargestChunk) {
  const PageSet set({{0, kPagesPerChunk - 1, 1}, {1, 0, kPagesPerChunk}});
  EXPECT_TRUE(set.contains(0, kPagesPerChunk - 1));
  EXPECT_FALSE(set.contains(0, kPagesPerChunk));
  EXPECT_EQ(set.pages(), kPagesPerChunk + 1);
}

TEST(StartHistory, OneStartIsTheNextBundleAsItWas) {
  const PageRuns start = {{5, 0, 256}, {1, 0, 256}, {6, 3, 2}};
  EXPECT_EQ(select_pages(history_of({start})), start);
}

TEST(StartHistory, NeighboursThatFollowEachOtherBecomeOneRun) {
  EXPECT_EQ(select_pages(history_of({{{1, 0, 1}, {1, 1, 1}, {1, 2, 4}, {2, 6, 1}}})), (PageRuns{{1, 0, 6}, {2, 6, 1}}));
}

TEST(StartHistory, TheOrderIsThatOfMedianPositions) {
  const PageRuns usual = {{1, 0, 256}, {2, 0, 256}, {3, 0, 256}};
  const PageRuns odd = {{3, 0, 256}, {2, 0, 256}, {1, 0, 256}};
  EXPECT_EQ(select_pages(history_of({usual, odd, usual})), usual);
  EXPECT_EQ(select_pages(history_of({odd, usual, odd})), odd);
}

TEST(StartHistory, ReadsThatAlternateBetweenTwoPlacesBecomeTwoRuns) {
  PageRuns start;
  for (uint16_t page = 0; page < 100; ++page) {
    start.push_back({9, page, 1});
    start.push_back({4, static_cast<uint16_t>(page + 50), 1});
  }
  EXPECT_EQ(select_pages(history_of({start})), (PageRuns{{4, 50, 100}, {9, 0, 100}}));
}

TEST(StartHistory, WhatOneOfTwoStartsAskedForIsKept) {
  EXPECT_EQ(select_pages(history_of({{{1, 0, 1}}, {{2, 0, 1}}})), (PageRuns{{1, 0, 1}, {2, 0, 1}}));
}

TEST(StartHistory, WhatOnlyOneOlderStartAskedForLeaves) {
  const PageRuns usual = {{1, 0, 1}};
  const PageRuns with_noise = {{1, 0, 1}, {9, 0, 1}};
  EXPECT_EQ(select_pages(history_of({with_noise, usual, usual})), usual);
  EXPECT_EQ(select_pages(history_of({usual, usual, with_noise})), with_noise)
      << "the newest start may be the new normal";
  EXPECT_EQ(select_pages(history_of({with_noise, usual, with_noise, usual})), with_noise) << "twice is a habit";
}

TEST(StartHistory, APageThatNoRememberedStartAskedForIsForgotten) {
  StartHistory history = history_of({{{8, 0, 1}}, {{8, 0, 1}}});
  for (size_t i = 0; i < kHistoryStarts; ++i) remember(history, {{1, 0, 1}});
  EXPECT_EQ(history.starts.size(), kHistoryStarts);
  EXPECT_EQ(select_pages(history), (PageRuns{{1, 0, 1}}));
}

TEST(StartHistory, NoStartsAreNoPages) {
  EXPECT_TRUE(select_pages({}).empty());
  EXPECT_TRUE(select_pages(history_of({{}})).empty());
}

TEST(StartHistory, AStartIsRememberedUpToItsLimit) {
  PageRuns endless;
  for (uint32_t chunk = 0; chunk < 1100; ++chunk) endless.push_back({chunk, 0, kPagesPerChunk});
  StartHistory history;
  remember(history, endless);
  EXPECT_EQ(bytes_of(history.starts.front()), kMaxRecordedBytes);
  EXPECT_TRUE(decode_history(encode(history)));
}

TEST(Coverage, IsOfPagesNotOfRuns) {
  const auto met = coverage({{1, 0, 4}, {2, 0, 4}}, {{1, 2, 2}, {3, 0, 8}});
  EXPECT_DOUBLE_EQ(met.recall, 0.25);
  EXPECT_DOUBLE_EQ(met.precision, 0.2);
  EXPECT_TRUE(is_poor(met));
  EXPECT_FALSE(is_poor(coverage({{1, 0, 4}}, {{1, 0, 5}})));
  EXPECT_FALSE(is_poor(coverage({}, {})));
  EXPECT_DOUBLE_EQ(coverage({{1, 0, 1}}, {}).recall, 0);
}

TEST(StartHistory, ComesBackAsItWasEncoded) {
  const StartHistory history = history_of({{{5, 3, 2}, {UINT32_MAX, 255, 1}}, {}, {{0, 0, 256}}});
  EXPECT_EQ(decode_history(encode(history)).value(), history);
  EXPECT_EQ(decode_history(encode(StartHistory{})).value(), StartHistory{});
}

TEST(StartHistory, DamageIsNoticed) {
  const std::string good = encode(history_of({{{5, 3, 2}, {6, 0, 9}}}));
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 0x10);
    const auto decoded = decode_history(bad);
    if (decoded) continue;  // some header bits mean nothing
    EXPECT_EQ(decoded.error().code, ErrorCode::corrupt);
    EXPECT_EQ(decode_history(std::string_view(good).substr(0, i)).error().code, ErrorCode::corrupt);
  }
}

}  // namespace
}  // namespace hearth::image
