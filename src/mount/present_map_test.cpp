#include "mount/present_map.hpp"

#include "base/file.hpp"
#include "mount/page_range.hpp"
#include "mount/testing/cache_fixture.hpp"

#include <gtest/gtest.h>

#include <sys/stat.h>

namespace hearth::mount {
namespace {

using Bits = PresentMap::Bits;
using testing::must;

PresentHeader some_header(uint64_t pages = 200) {
  return {.pack = Digest::of("pack"),
          .plain_size = pages * kPageBytes,
          .epoch = Digest::of("boot 1"),
          .data_inode = 12345,
          .birth_seconds = -7,
          .birth_nanoseconds = 999'999'999};
}

class PresentMapTest : public ::testing::Test {
 protected:
  testing::TemporaryFolder folder;
  std::filesystem::path path = folder.path() / "x.present";
};

TEST_F(PresentMapTest, AHeaderIsReadBackAsItWasWritten) {
  const auto bytes = encode(some_header());
  EXPECT_EQ(bytes.size(), kPresentHeaderBytes);
  EXPECT_EQ(must(decode_present_header(bytes)), some_header());
}

TEST_F(PresentMapTest, AHeaderWithAnyByteChangedIsRefused) {
  const auto good = encode(some_header());
  for (size_t i = 0; i < 160; ++i) {
    auto bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 0x20);
    EXPECT_EQ(decode_present_header(bad).error().code, ErrorCode::corrupt) << "byte " << i;
  }
  EXPECT_EQ(decode_present_header(good.substr(0, 4095)).error().code, ErrorCode::corrupt);
}

TEST_F(PresentMapTest, KnowsBitsAcrossWordsAndKeepsTheTwoBitmapsApart) {
  auto map = must(PresentMap::create(path, some_header()));
  map.set(Bits::present, 60, 70);
  map.set(Bits::candidates, 199, 1);
  EXPECT_TRUE(map.all(Bits::present, 60, 70));
  EXPECT_FALSE(map.all(Bits::present, 59, 2));
  EXPECT_FALSE(map.all(Bits::present, 129, 2));
  EXPECT_TRUE(map.all(Bits::present, 5, 0));
  EXPECT_EQ(map.count(Bits::present, 0, 200), 70u);
  EXPECT_EQ(map.count(Bits::candidates, 0, 200), 1u);
  map.clear(Bits::present, 64, 64);
  EXPECT_EQ(map.count(Bits::present, 0, 200), 6u);
}

TEST_F(PresentMapTest, BitsAreThereForWhoeverOpensTheFileNextOrHasItMapped) {
  auto writer = must(PresentMap::create(path, some_header()));
  const auto reader = must(PresentMap::open(path));
  writer.set(Bits::present, 7, 3);
  EXPECT_TRUE(reader.all(Bits::present, 7, 3));
  EXPECT_EQ(reader.header(), some_header());
}

TEST_F(PresentMapTest, AFileOfTheWrongSizeIsRefused) {
  (void)must(PresentMap::create(path, some_header()));
  std::filesystem::resize_file(path, some_header().file_bytes() - 8);
  EXPECT_EQ(PresentMap::open(path).error().code, ErrorCode::corrupt);
  std::filesystem::resize_file(path, 0);
  EXPECT_EQ(PresentMap::open(path).error().code, ErrorCode::corrupt);
}

TEST_F(PresentMapTest, AllItsBytesAreAllocatedSoThatABitNeverMeetsAFullDisk) {
  (void)must(PresentMap::create(path, some_header(262'144)));  // the largest there is
  struct stat info{};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_GE(static_cast<uint64_t>(info.st_blocks) * 512, some_header(262'144).file_bytes());
}

TEST_F(PresentMapTest, WhatWasPresentOrACandidateBecomesACandidate) {
  auto old = must(PresentMap::create(path, some_header()));
  old.set(Bits::present, 10, 2);
  old.set(Bits::candidates, 20, 2);
  auto fresh = must(PresentMap::create(path, some_header()));
  fresh.take_as_candidates(old);
  EXPECT_EQ(fresh.count(Bits::present, 0, 200), 0u);
  EXPECT_EQ(fresh.count(Bits::candidates, 0, 200), 4u);
  EXPECT_TRUE(old.all(Bits::present, 10, 2));  // who has the old file mapped sees no change
}

TEST_F(PresentMapTest, DoubtTurnsWhatIsPresentIntoCandidates) {
  auto map = must(PresentMap::create(path, some_header()));
  map.set(Bits::present, 0, 100);
  map.doubt_all();
  EXPECT_EQ(map.count(Bits::present, 0, 200), 0u);
  EXPECT_TRUE(map.all(Bits::candidates, 0, 100));
}

TEST_F(PresentMapTest, RemembersWhenItWasUsed) {
  auto map = must(PresentMap::create(path, some_header()));
  const WallTime at(seconds(1'800'000'000));
  map.set_last_used(at);
  EXPECT_EQ(map.last_used(), at);
  EXPECT_EQ(decode_last_used(must(read_file(path))), at);
  EXPECT_TRUE(decode_present_header(must(read_file(path))).has_value());  // it is outside the checksum
}

}  // namespace
}  // namespace hearth::mount
