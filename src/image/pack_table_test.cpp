#include "image/pack_table.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hearth::image {
namespace {

using ::testing::HasSubstr;

/// Two chunks: "raw" as it is, and 5,000 bytes that are said to be compressed to 4.
std::string sample() {
  PackTableWriter writer;
  writer.add({Digest::of("raw"), 3}, 3, ChunkEncoding::raw);
  writer.add({Digest::of("zzzz"), 5000}, 4, ChunkEncoding::zstd);
  return "raw" + std::string("pack") + writer.finish();
}

TEST(PackTable, SaysWhereEachChunkLiesInThePackAndInItsPlainSpace) {
  const PackTable table = read_pack_table(sample(), sample().size()).value();
  ASSERT_EQ(table.entries.size(), 2u);
  EXPECT_EQ(table.entries[0].digest, Digest::of("raw"));
  EXPECT_EQ(table.entries[0].offset, 0u);
  EXPECT_EQ(table.entries[1].digest, Digest::of("zzzz"));
  EXPECT_EQ(table.entries[1].offset, 3u);
  EXPECT_EQ(table.entries[1].plain_offset, kPageBytes);
  EXPECT_EQ(table.entries[1].length, 5000u);
  EXPECT_EQ(table.entries[1].encoding, ChunkEncoding::zstd);
  EXPECT_EQ(table.plain_size, 3 * kPageBytes);
}

TEST(PackTable, EqualBytesThatAreCutOtherwiseMakeAnotherPack) {
  PackTableWriter one;
  one.add({Digest::of("ab"), 2}, 2, ChunkEncoding::raw);
  PackTableWriter two;
  two.add({Digest::of("a"), 1}, 1, ChunkEncoding::raw);
  two.add({Digest::of("b"), 1}, 1, ChunkEncoding::raw);
  EXPECT_NE(Digest::of("ab" + one.finish()), Digest::of("ab" + two.finish()));
}

TEST(PackTable, TheSizeIsKnownBeforeAnEntryIsAdded) {
  PackTableWriter writer;
  const uint64_t expected = writer.size(1);
  writer.add({Digest::of("a"), 1}, 1, ChunkEncoding::raw);
  EXPECT_EQ(writer.size(0), expected);
  EXPECT_EQ(writer.finish().size(), expected);
  EXPECT_EQ(writer.stored_size(), 0u) << "empty again";
}

std::string refusal(const std::string& pack) {
  const auto table = read_pack_table(pack, pack.size());
  return table ? "accepted" : table.error().message;
}

TEST(PackTable, TheLastBytesOfAPackAreEnough) {
  const std::string pack = sample();
  const uint64_t bytes = pack_table_bytes(pack.substr(pack.size() - kPackTrailerBytes)).value();
  EXPECT_EQ(bytes, pack.size() - 7);
  EXPECT_EQ(read_pack_table(pack.substr(pack.size() - bytes), pack.size())->entries.size(), 2u);
  EXPECT_THAT(read_pack_table(pack.substr(pack.size() - bytes + 1), pack.size()).error().message,
              HasSubstr("more entries"));
}

TEST(PackTable, WhatDoesNotFitThePackIsRefused) {
  const std::string pack = sample();
  EXPECT_THAT(refusal(""), HasSubstr("not at the end"));
  EXPECT_THAT(refusal(pack.substr(1)), HasSubstr("do not fill"));
  EXPECT_THAT(refusal("x" + pack), HasSubstr("do not fill"));
  EXPECT_THAT(refusal(pack.substr(60)), HasSubstr("more entries"));
}

TEST(PackTable, EveryFlippedBitIsNoticed) {
  const std::string pack = sample();
  for (size_t i = 7 * 8; i < pack.size() * 8; ++i) {
    std::string damaged = pack;
    damaged[i / 8] = static_cast<char>(damaged[i / 8] ^ (1 << (i % 8)));
    EXPECT_NE(refusal(damaged), "accepted") << "bit " << i;
  }
}

/// The sample with a byte changed, counted from the end, and its checksum put right.
std::string refusal_of(size_t from_end, char value) {
  std::string pack = sample();
  pack[pack.size() - from_end] = value;
  const Digest checksum = Digest::of(pack.substr(7, 2 * 48));
  pack.replace(pack.size() - 48, Digest::kSize, reinterpret_cast<const char*>(checksum.bytes().data()), Digest::kSize);
  return refusal(pack);
}

TEST(PackTable, ImpossibleEntriesAreRefused) {
  EXPECT_THAT(refusal_of(12, 2), HasSubstr("version 2 is not known"));
  EXPECT_THAT(refusal_of(48 + 8, 2), HasSubstr("unknown encoding"));
  EXPECT_THAT(refusal_of(48 + 8, 0), HasSubstr("raw chunk"));
  EXPECT_THAT(refusal_of(48 + 10, 0x7f), HasSubstr("length of a chunk"));
  EXPECT_THAT(refusal_of(48 + 16, 0), HasSubstr("length of a chunk"));
}

}  // namespace
}  // namespace hearth::image
