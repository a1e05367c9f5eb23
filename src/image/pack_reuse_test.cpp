#include "image/pack_reuse.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace hearth::image {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Verdict = PackReuse::Verdict;

constexpr uint32_t kLength = 1000;
constexpr uint32_t kStored = 100;

Digest digest_of(int pack, int chunk) {
  return Digest::of(std::to_string(pack) + "/" + std::to_string(chunk));
}

/// Packs of 1,000 bytes with ten chunks of 100 stored bytes each.
std::shared_ptr<const KnownChunks> known(int packs) {
  std::vector<PackInfo> infos;
  std::vector<KnownChunks::Entry> entries;
  for (int pack = 0; pack < packs; ++pack) {
    infos.push_back({Digest::of("pack " + std::to_string(pack)), 1000, 10 * kPageBytes});
    for (uint32_t chunk = 0; chunk < 10; ++chunk) {
      entries.push_back({digest_of(pack, static_cast<int>(chunk)), kLength, static_cast<uint32_t>(pack),
                         chunk * kStored, chunk, kStored});
    }
  }
  return std::make_shared<const KnownChunks>(std::move(infos), std::move(entries));
}

TEST(KnownChunks, AreFoundByDigestAndLength) {
  const auto chunks = known(3);
  EXPECT_EQ(chunks->chunk_count(), 30u);
  const auto place = chunks->find(digest_of(1, 4), kLength);
  ASSERT_TRUE(place);
  EXPECT_EQ(place->pack, 1u);
  EXPECT_EQ(place->offset, 400u);
  EXPECT_EQ(place->plain_offset, 4 * kPageBytes);
  EXPECT_FALSE(chunks->find(digest_of(1, 4), kLength + 1));
  EXPECT_FALSE(chunks->find(Digest::of("none"), kLength));
}

TEST(KnownChunks, OfSeveralPlacesTheOneInTheFirstPackCounts) {
  const KnownChunks chunks({{Digest::of("a"), 10, kPageBytes}, {Digest::of("b"), 10, kPageBytes}},
                           {{Digest::of("x"), 5, 1, 0, 0, 5}, {Digest::of("x"), 5, 0, 0, 0, 5}});
  EXPECT_EQ(chunks.find(Digest::of("x"), 5)->pack, 0u);
}

TEST(PackReuse, WhatNobodyHasIsStored) {
  PackReuse reuse(known(1));
  EXPECT_EQ(reuse.ask(0, Digest::of("new"), kLength).verdict, Verdict::store);
}

TEST(PackReuse, APackIsReferredToOnceItPays) {
  PackReuse reuse(known(1), {.worth = 250});
  EXPECT_EQ(reuse.ask(0, digest_of(0, 0), kLength).verdict, Verdict::wait);
  EXPECT_FALSE(reuse.find_open(digest_of(0, 2), kLength));
  EXPECT_EQ(reuse.ask(1, digest_of(0, 1), kLength).verdict, Verdict::wait);
  const auto answer = reuse.ask(7, digest_of(0, 2), kLength);
  EXPECT_EQ(answer.verdict, Verdict::take);
  EXPECT_THAT(answer.waited, ElementsAre(0, 1));
  EXPECT_EQ(answer.place.offset, 200u);
  EXPECT_TRUE(reuse.find_open(digest_of(0, 3), kLength));
  EXPECT_EQ(reuse.ask(8, digest_of(0, 3), kLength).verdict, Verdict::take);
  EXPECT_THAT(reuse.give_up(), IsEmpty());
}

TEST(PackReuse, HalfOfASmallPackIsEnough) {
  PackReuse reuse(known(1), {.worth = 1'000'000});
  for (int chunk = 0; chunk < 4; ++chunk)
    EXPECT_EQ(reuse.ask(static_cast<uint32_t>(chunk), digest_of(0, chunk), kLength).verdict, Verdict::wait);
  EXPECT_EQ(reuse.ask(4, digest_of(0, 4), kLength).verdict, Verdict::take);
}

TEST(PackReuse, WhatDoesNotPayIsStoredInItsOrder) {
  PackReuse reuse(known(3), {.worth = 250});
  EXPECT_EQ(reuse.ask(5, digest_of(2, 0), kLength).verdict, Verdict::wait);
  EXPECT_EQ(reuse.ask(6, digest_of(0, 0), kLength).verdict, Verdict::wait);
  EXPECT_EQ(reuse.ask(8, digest_of(2, 1), kLength).verdict, Verdict::wait);
  EXPECT_THAT(reuse.give_up(), ElementsAre(5, 6, 8));
  EXPECT_THAT(reuse.give_up(), IsEmpty());
  EXPECT_EQ(reuse.ask(9, digest_of(2, 2), kLength).verdict, Verdict::wait) << "it counts from the start again";
}

TEST(PackReuse, NoMorePacksAreReferredToThanTheLimit) {
  PackReuse reuse(known(5), {.packs = 3, .worth = 1});
  for (int pack = 0; pack < 3; ++pack)
    EXPECT_EQ(reuse.ask(static_cast<uint32_t>(pack), digest_of(pack, 0), kLength).verdict, Verdict::take);
  EXPECT_EQ(reuse.ask(3, digest_of(3, 0), kLength).verdict, Verdict::store);
  EXPECT_EQ(reuse.ask(4, digest_of(2, 1), kLength).verdict, Verdict::take) << "one that is referred to already";
}

}  // namespace
}  // namespace hearth::image
