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
  const PackTable table = read_pack_table(sample()).value();
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

TEST(PackTable, WhatDoesNotFitThePackIsRefused) {
  const std::string pack = sample();
  EXPECT_THAT(read_pack_table("").error().message, HasSubstr("not at the end"));
  EXPECT_THAT(read_pack_table(pack.substr(1)).error().message, HasSubstr("do not fill"));
  EXPECT_THAT(read_pack_table("x" + pack).error().message, HasSubstr("do not fill"));
  EXPECT_THAT(read_pack_table(pack.substr(60)).error().message, HasSubstr("more entries"));
  const auto with_byte = [&pack](size_t from_end, char value) {
    std::string changed = pack;
    changed[changed.size() - from_end] = value;
    return read_pack_table(changed).error().message;
  };
  EXPECT_THAT(with_byte(12, 2), HasSubstr("version 2 is not known"));
  EXPECT_THAT(with_byte(24, 2), HasSubstr("unknown encoding"));
  EXPECT_THAT(with_byte(24, 0), HasSubstr("raw chunk"));
  EXPECT_THAT(with_byte(26, 0x7f), HasSubstr("length of a chunk"));
}

}  // namespace
}  // namespace hearth::image
