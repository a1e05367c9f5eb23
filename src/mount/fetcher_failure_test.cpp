// The fetcher when stores, tiers and disks fail.
#include "mount/fetcher.hpp"
#include "mount/testing/fetcher_fixture.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hearth::mount {
namespace {

using testing::FetcherFixture;
using ::testing::HasSubstr;
using testing::mixed_files;
using testing::must;
using testing::noise;
using testing::prose;
using testing::ScriptedStore;

constexpr size_t kMiB = 1024 * 1024;

class FetcherFailureTest : public FetcherFixture {};

TEST_F(FetcherFailureTest, AStoreThatIsAwayForAWhileCostsTimeOnly) {
  std::atomic<int> failures{5};
  start(mixed_files());
  store->before = [&failures](const ScriptedStore::Read&) -> Result<> {
    if (failures-- > 0) return fail(ErrorCode::unavailable, "simulated: no route to the store");
    return {};
  };
  must(fill(request(chunks().front())));
  EXPECT_TRUE(is_right(chunks().front()));
}

TEST_F(FetcherFailureTest, AStoreThatForbidsForAWhileCostsTimeOnly) {
  std::atomic<int> failures{3};
  start(mixed_files());
  store->before = [&failures](const ScriptedStore::Read&) -> Result<> {
    if (failures-- > 0) return fail(ErrorCode::denied, "simulated: expired token");
    return {};
  };
  must(fill(request(chunks().front())));
}

TEST_F(FetcherFailureTest, WhenTheDeadlinePassesTheReaderIsToldWhyAndMayAskAgain) {
  std::atomic<bool> away{true};
  start(mixed_files());
  store->before = [&away](const ScriptedStore::Read&) -> Result<> {
    if (away) return fail(ErrorCode::unavailable, "simulated: no route to the store");
    return {};
  };
  auto soon = request(chunks().front());
  soon.deadline = Deadline::after(mono_now(), milliseconds(300));
  const auto result = fill(soon);
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().code, ErrorCode::deadline_exceeded);
  EXPECT_THAT(result.error().message, HasSubstr("simulated: no route to the store"));
  EXPECT_FALSE(pack()->present(soon.offset, 1));
  away = false;
  must(fill(request(chunks().front())));
  EXPECT_TRUE(is_right(chunks().front()));
}

TEST_F(FetcherFailureTest, PrefetchDoesNotAskAnUnavailableStoreAgain) {
  start(mixed_files());
  store->before = [](const ScriptedStore::Read&) -> Result<> { return fail(ErrorCode::unavailable, "simulated"); };
  EXPECT_EQ(fill(request(chunks().front(), Urgency::prefetch)).error().code, ErrorCode::unavailable);
  EXPECT_LE(store->read_count(), 2u);
}

TEST_F(FetcherFailureTest, WrongBytesAreReadAgainAndCountedAndNeverSeen) {
  std::atomic<int> flips{2};
  start({{"a", noise(300'000, 1)}});
  store->damage = [&flips](const ScriptedStore::Read&, std::string& bytes) {
    if (flips-- > 0) bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 4);
  };
  must(fill(whole()));
  EXPECT_TRUE(all_right());
  EXPECT_EQ(corrupt_count("store"), 2u);
}

TEST_F(FetcherFailureTest, BytesThatAreWrongEverywhereAreAnErrorAndStayMissing) {
  start(mixed_files());
  store->damage = [](const ScriptedStore::Read&, std::string& bytes) { bytes[0] = static_cast<char>(bytes[0] ^ 1); };
  const auto chunk = chunks().front();
  EXPECT_EQ(fill(request(chunk)).error().code, ErrorCode::corrupt);
  EXPECT_FALSE(pack()->present(chunk.plain_offset, 1));
  EXPECT_GE(corrupt_count("store"), 4u);
}

TEST_F(FetcherFailureTest, TruncatedAndOverlongAnswersAreNotBelieved) {
  std::atomic<int> answers{0};
  start({{"a", prose(600'000, 1)}, {"b", noise(600'000, 2)}});
  store->damage = [&answers](const ScriptedStore::Read&, std::string& bytes) {
    const int number = answers++;
    if (number == 0) bytes.resize(bytes.size() / 2);
    if (number == 1) bytes += "more";
    if (number == 2) bytes.clear();
  };
  must(fill(whole()));
  EXPECT_TRUE(all_right());
}

TEST_F(FetcherFailureTest, APackThatIsWrongInOneScopeIsReadFromAnother) {
  start(mixed_files());
  const auto hex = index->pack(0).digest.hex();
  std::filesystem::create_directories(layers.object("shared/packs"));
  std::filesystem::copy_file(layers.object("ws/acme/packs/" + hex), layers.object("shared/packs/" + hex));
  store->damage = [](const ScriptedStore::Read& read, std::string& bytes) {
    if (read.key.starts_with("ws/")) bytes.back() = static_cast<char>(bytes.back() ^ 1);
  };
  must(fill(whole()));
  EXPECT_TRUE(all_right());
}

TEST_F(FetcherFailureTest, APackOfASharedBaseIsFound) {
  start(mixed_files(), {}, "shared");
  must(fill(whole()));
  EXPECT_TRUE(all_right());
  // After the first look, nobody asks the workspace for it again.
  size_t asked = 0;
  for (const auto& read : store->reads()) asked += read.key.starts_with("ws/") ? 1 : 0;
  EXPECT_LE(asked, 32u);
}

TEST_F(FetcherFailureTest, APackThatNoTierHasIsAnErrorThatSaysSo) {
  start(mixed_files());
  std::filesystem::remove(layers.object("ws/acme/packs/" + index->pack(0).digest.hex()));
  const auto result = fill(request(chunks().front()));
  EXPECT_EQ(result.error().code, ErrorCode::corrupt);
  EXPECT_THAT(result.error().message, HasSubstr("no tier has the pack"));
}

/// SIMULATED tier: has all chunks unpacked, as a peer has, or fails as the test says.
class SimulatedPeer final : public ChunkTier {
 public:
  std::function<Result<ChunkBytes>(const ChunkRead&)> answer;
  std::atomic<int> asked{0};
  std::string_view name() const override { return "peer"; }
  Result<ChunkBytes> read(const ChunkRead& what) override {
    ++asked;
    return answer(what);
  }
};

TEST_F(FetcherFailureTest, TiersAreAskedInTurnAndMayGivePlainBytes) {
  SimulatedPeer peer;
  start(mixed_files());
  const auto all = chunks();
  peer.answer = [&](const ChunkRead& what) -> Result<ChunkBytes> {
    ChunkBytes result{.form = ChunkBytes::Form::plain, .bytes = ""};
    for (const auto& piece : what.pieces) {
      const auto chunk = std::ranges::find(all, piece.plain_offset, &PackChunk::plain_offset);
      result.bytes += testing::plain_bytes(layers, *index, chunk->number);
    }
    return result;
  };
  open_fetcher({.tiers = {&peer, store_tier.get()}});
  must(fill(whole()));
  EXPECT_TRUE(all_right());
  EXPECT_EQ(store->read_count(), 0u);
  EXPECT_GT(peer.asked, 0);
}

TEST_F(FetcherFailureTest, ATierWithWrongBytesOrNoneIsFollowedByTheNext) {
  SimulatedPeer peer;
  start(mixed_files());
  peer.answer = [&](const ChunkRead& what) -> Result<ChunkBytes> {
    switch (peer.asked % 4) {
      case 0:
        return fail(ErrorCode::not_found, "not here");
      case 1:
        return fail(ErrorCode::unavailable, "simulated: the peer is gone");
      case 2:
        return ChunkBytes{.form = ChunkBytes::Form::plain, .bytes = std::string(what.pieces[0].length, 'x')};
      default:
        return ChunkBytes{.form = ChunkBytes::Form::stored, .bytes = ""};
    }
  };
  open_fetcher({.tiers = {&peer, store_tier.get()}, .read_around_bytes = 0});
  for (const auto& chunk : chunks()) must(fill(request(chunk)));
  EXPECT_TRUE(all_right());
  EXPECT_GT(corrupt_count("peer"), 0u);
  EXPECT_EQ(corrupt_count("store"), 0u);
}

TEST_F(FetcherFailureTest, AfterABootWhatIsOnDiskIsVerifiedAndNotFetched) {
  start(mixed_files());
  must(fill(whole()));
  simulated_reboot();
  EXPECT_FALSE(layer->complete());
  const auto reads = store->read_count();
  must(fill(whole()));
  EXPECT_TRUE(all_right());
  EXPECT_TRUE(layer->complete());
  EXPECT_EQ(store->read_count(), reads);
}

TEST_F(FetcherFailureTest, AfterABootADemandVerifiesOnlyTheBlocksItNeeds) {
  start({{"large", noise(kMiB, 1)}});
  must(fill(whole()));
  simulated_reboot();
  auto some = request(chunks().front());
  some.offset += 3 * kBlockBytes;
  some.length = 10;
  must(fill(some));
  EXPECT_TRUE(pack()->present(3 * kBlockBytes, kBlockBytes));
  EXPECT_FALSE(pack()->present(4 * kBlockBytes, 1));
}

TEST_F(FetcherFailureTest, AByteThatWasFlippedWhileNobodyWatchedIsFoundAndMended) {
  start(mixed_files());
  must(fill(whole()));
  const auto all = chunks();
  const auto& large = *std::ranges::find_if(all, [](const PackChunk& c) { return c.length == kMiB; });
  close();
  flip_on_disk(large.plain_offset + 5 * kBlockBytes + 17);
  open_cache("simulated boot 2");
  open_fetcher({});
  must(fill(whole()));
  EXPECT_TRUE(all_right());
  EXPECT_EQ(corrupt_count("disk"), 1u);
  EXPECT_EQ(metrics.counter("hearth_imagefs_corrupt_total", "", {{"tier", "store"}}).value(), 0u);
}

TEST_F(FetcherFailureTest, AByteBehindTheEndOfAFileThatWasFlippedIsMendedToo) {
  start({{"short", "few bytes"}});
  must(fill(whole()));
  close();
  flip_on_disk(4000);
  open_cache("simulated boot 2");
  open_fetcher({});
  must(fill(whole()));
  EXPECT_EQ(corrupt_count("disk"), 1u);
  char byte = '?';
  must(pack()->read(4000, &byte, 1));
  EXPECT_EQ(byte, '\0');
}

TEST_F(FetcherFailureTest, ADiskThatCannotReadItsCandidatesIsNoObstacle) {
  start(mixed_files());
  must(fill(whole()));
  simulated_reboot();
  disk.read_error = EIO;
  must(fill(whole()));
  disk.read_error = 0;
  EXPECT_TRUE(all_right());
}

TEST_F(FetcherFailureTest, ADiskThatCannotWriteIsAnErrorOfTheReaderAndNothingElse) {
  start(mixed_files());
  disk.write_error = EIO;
  EXPECT_EQ(fill(request(chunks().front())).error().code, ErrorCode::internal);
  disk.write_error = ENOSPC;
  EXPECT_EQ(fill(request(chunks().front())).error().code, ErrorCode::exhausted);
  EXPECT_FALSE(pack()->present(0, 1));
  disk.write_error = 0;
  must(fill(whole()));
  EXPECT_TRUE(all_right());
}

}  // namespace
}  // namespace hearth::mount
