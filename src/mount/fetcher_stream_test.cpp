// Sequential readers, and everything at once.
#include "mount/fetch_queue.hpp"
#include "mount/fetcher.hpp"
#include "mount/reader_streams.hpp"
#include "mount/testing/fetcher_fixture.hpp"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <thread>

namespace hearth::mount {
namespace {

using testing::FetcherFixture;
using testing::Files;
using testing::mixed_files;
using testing::must;
using testing::noise;
using testing::prose;
using testing::ScriptedStore;

constexpr uint64_t kMiB = 1024 * 1024;
constexpr uint64_t kStep = 128 * 1024;  // what the kernel reads ahead by itself

class FetcherStreamTest : public FetcherFixture {
 protected:
  /// Reads a pack as the kernel path does: only what is not present is asked for.
  void read_step(uint32_t number, uint64_t offset) {
    const auto& file = pack(number);
    const uint64_t length = std::min(kStep, file->plain_size() - offset);
    if (file->present(offset, length)) return;
    must(fill({.pack = file, .offset = offset, .length = length}));
  }
};

TEST_F(FetcherStreamTest, AReaderThatGoesInOrderFindsItsPagesThereAlsoInTheNextPack) {
  start({{"weights", noise(70 * kMiB, 1)}}, {.read_ahead_bytes = 8 * kMiB});
  ASSERT_EQ(index->pack_count(), 2u);
  for (uint64_t at = 0; at < 3 * kMiB; at += kStep) read_step(0, at);
  for (uint32_t number = 0; number < 2; ++number) {
    const auto& file = pack(number);
    for (uint64_t at = 0; at < file->plain_size(); at += kStep) {
      const PageRange step{at, std::min(kStep, file->plain_size() - at)};
      if (number == 1 || at >= 3 * kMiB) eventually([&] { return file->on_disk(step); });  // before it is asked for
      read_step(number, at);
    }
  }
  EXPECT_TRUE(all_right());
  EXPECT_LE(store->most_bytes_at_once(), 64 * kMiB + kRunBytesMax);
}

TEST_F(FetcherStreamTest, AReaderAfterABootIsVerifiedAheadToo) {
  start({{"weights", noise(12 * kMiB, 1)}});
  must(fill(whole()));
  simulated_reboot();
  const auto reads = store->read_count();
  for (uint64_t at = 0; at < pack()->plain_size(); at += kStep) read_step(0, at);
  EXPECT_TRUE(all_right());
  EXPECT_EQ(store->read_count(), reads);
}

TEST_F(FetcherStreamTest, AReaderThatJumpsGetsWhatItAskedForAndNoMore) {
  start({{"weights", noise(30 * kMiB, 1)}}, {.read_around_bytes = 0});
  const std::set<uint64_t> wanted{17, 3, 25, 9, 13, 6, 21};
  for (const uint64_t at : {17U, 3U, 25U, 9U, 13U, 6U, 21U}) read_step(0, at * kMiB);
  for (uint64_t at = 0; at < 30; ++at) EXPECT_EQ(pack()->on_disk({at * kMiB, kMiB}), wanted.contains(at)) << at;
}

TEST_F(FetcherStreamTest, ReadersWhoStayAwayLeaveNoPageKeptBack) {
  start({{"weights", noise(8 * kMiB, 1)}});
  const auto start_time = mono_now();
  ReaderStreams streams(4 * kMiB);
  EXPECT_TRUE(streams.read(pack(), {0, kPageBytes}, kMiB, start_time).empty());
  const auto orders = streams.read(pack(), {kMiB, kPageBytes}, 2 * kMiB, start_time);
  ASSERT_EQ(orders.size(), 1u);
  EXPECT_TRUE(orders[0].mark);
  EXPECT_EQ(orders[0].range, (PageRange{2 * kMiB, kMiB}));
  EXPECT_TRUE(streams.forget_idle(start_time + ReaderStreams::kIdle - milliseconds(1)).empty());
  const auto rest = streams.forget_idle(start_time + ReaderStreams::kIdle);
  ASSERT_EQ(rest.size(), 1u);
  EXPECT_EQ(rest[0].range, (PageRange{2 * kMiB, kPageBytes}));
  EXPECT_FALSE(rest[0].mark);
  EXPECT_TRUE(streams.forget_idle(start_time + 2 * ReaderStreams::kIdle).empty());
}

TEST_F(FetcherStreamTest, ManyReadersOfOnePackAreKeptApart) {
  start({{"weights", noise(40 * kMiB, 1)}});
  const auto now = mono_now();
  ReaderStreams streams(4 * kMiB);
  for (uint64_t reader = 0; reader < ReaderStreams::kReadersAPack; ++reader) {
    EXPECT_TRUE(streams.read(pack(), {reader * 4 * kMiB, kPageBytes}, reader * 4 * kMiB + kMiB, now).empty());
  }
  for (uint64_t reader = 0; reader < ReaderStreams::kReadersAPack; ++reader) {
    const uint64_t at = reader * 4 * kMiB + kMiB;
    const auto orders = streams.read(pack(), {at, kPageBytes}, at + kMiB, now);
    ASSERT_EQ(orders.size(), 1u) << reader;
    EXPECT_EQ(orders[0].range.offset, at + kMiB);
  }
}

/// Readers, prefetch, an evictor, a store that fails and lies, all at once: what is present is always right.
TEST_F(FetcherStreamTest, WhateverHappensWhatIsPresentIsRight) {
  std::atomic<uint32_t> dice{1};
  const auto roll = [&dice](uint32_t sides) { return (dice.fetch_add(0x9E3779B9U) >> 7U) % sides; };
  start(mixed_files(), {.workers = 6});
  store->before = [&](const ScriptedStore::Read&) -> Result<> {
    if (roll(10) == 0) return fail(ErrorCode::unavailable, "simulated: the store is away");
    return {};
  };
  store->damage = [&](const ScriptedStore::Read&, std::string& bytes) {
    if (roll(10) == 0) bytes[roll(static_cast<uint32_t>(bytes.size()))] ^= 1;
    if (roll(20) == 0) bytes.resize(bytes.size() / 2);
  };
  const auto second = layers.build({{"weights", noise(3 * kMiB + 777, 1)}, {"own", prose(kMiB, 77)}});
  layer.reset();  // so that packs can be evicted
  std::atomic<bool> over{false};
  std::atomic<int> wrong{0};
  std::atomic<int> checked{0};
  const auto read = [&](uint32_t seed) {
    std::mt19937 random(seed);
    for (int round = 0; round < 25; ++round) {
      const auto& some = random() % 2 == 0 ? index : second;
      const auto mine = must(CachedLayer::open(*cache, some, "acme"));
      for (int i = 0; i < 8; ++i) {
        const auto number = static_cast<uint32_t>(random() % some->chunk_count());
        const auto chunk = pack_chunk(mine->chunks(), number);
        const auto& file = mine->pack(some->location(number).pack);
        const auto urgency = random() % 4 == 0 ? Urgency::prefetch : Urgency::demand;
        const auto filled =
            fill({.pack = file, .offset = chunk.plain_offset, .length = chunk.length, .urgency = urgency});
        if (!filled) continue;
        std::string bytes(chunk.length, '?');
        must(file->read(chunk.plain_offset, bytes.data(), bytes.size()));
        wrong += Digest::of(bytes) == chunk.digest ? 0 : 1;
        ++checked;
      }
    }
  };
  std::thread evictor([&] {
    while (!over) {
      for (const auto& some : {index, second}) cache->evict_pack(some->pack(0).digest);
      std::this_thread::yield();
    }
  });
  std::vector<std::thread> readers;
  for (uint32_t i = 0; i < 4; ++i) readers.emplace_back(read, i);
  for (auto& reader : readers) reader.join();
  over = true;
  evictor.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(checked, 400);
}

}  // namespace
}  // namespace hearth::mount
