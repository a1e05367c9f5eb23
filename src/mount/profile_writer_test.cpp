#include "mount/profile_writer.hpp"

#include "image/bundle.hpp"
#include "mount/bundle_stream.hpp"
#include "mount/recorder.hpp"
#include "mount/testing/fetcher_fixture.hpp"
#include "mount/verified_pages.hpp"

#include <gmock/gmock.h>

namespace hearth::mount {
namespace {

using image::PageRuns;
using testing::must;

constexpr const char* kKey = "iris_main";

class Learning : public testing::FetcherFixture {
 protected:
  void SetUp() override { start(testing::mixed_files(), {.read_around_bytes = 0, .read_ahead_bytes = 0}); }

  ProfileWriterOptions options() {
    return {
        .store = layers.store(), .fetcher = fetcher.get(), .directory = folder.path() / "drafts", .metrics = &metrics};
  }
  /// The first `percent` of every chunk, in order.
  PageRuns part(uint32_t percent) const {
    PageRuns runs;
    for (uint32_t chunk = 0; chunk < index->chunk_count(); ++chunk) {
      const uint32_t pages = (index->chunk(chunk).length + kPageBytes - 1) / kPageBytes;
      runs.push_back({chunk, 0, static_cast<uint16_t>(std::max(1U, pages * percent / 100))});
    }
    return runs;
  }
  RecordedStart start_of(PageRuns asked, std::optional<PageRuns> bundle = std::nullopt) const {
    return {.layer = layer,
            .profile = kKey,
            .recording = {.asked = std::move(asked), .demand_waits = 7, .waited_ms = 70},
            .bundle = bundle ? std::make_shared<const PageRuns>(std::move(*bundle)) : nullptr,
            .at = now};
  }
  std::optional<image::Profile> profile() {
    return must(image::find_profile(*layers.store(), scope, index->digest(), kKey));
  }
  /// The runs of the bundle that the profile names, and that they hold what the layer says.
  PageRuns read_bundle() {
    const auto ref = *profile()->bundle;
    const auto reader = must(image::LayerReader::open(layers.store(), "acme", index->digest()));
    image::BundleDecoder decoder(ref.digest);
    must(decoder.feed(must(layers.store()->get(image::bundle_object_key(scope, ref.digest))),
                      [&reader](const image::BundlePiece& piece) -> Result<> {
                        std::string plain = must(reader.read_chunk(piece.chunk));
                        plain.resize(image::round_up_to_page(plain.size()), '\0');
                        EXPECT_EQ(piece.bytes, plain.substr(size_t{piece.first_page} * kPageBytes, piece.bytes.size()));
                        return {};
                      }));
    must(decoder.finish());
    return decoder.head()->runs;
  }

  /// The same pages by place, whatever the order in which starts first read them.
  static PageRuns by_place(PageRuns runs) {
    std::ranges::sort(runs);
    PageRuns merged;
    for (const auto& run : runs) {
      if (!merged.empty() && merged.back().chunk == run.chunk &&
          merged.back().first + merged.back().pages == run.first) {
        merged.back().pages = static_cast<uint16_t>(merged.back().pages + run.pages);
      } else {
        merged.push_back(run);
      }
    }
    return merged;
  }

  const image::StoreScope scope = image::StoreScope::workspace("acme");
  WallTime now = *from_iso8601("2026-11-28T10:00:00Z");
};

TEST_F(Learning, TheFirstStartWritesAProfileAndABundleOfWhatItRead) {
  EXPECT_EQ(must(learn(start_of(part(50)), options(), now)), Learned::bundle);
  EXPECT_EQ(profile()->generation, 1U);
  EXPECT_EQ(profile()->starts, 1U);
  EXPECT_EQ(profile()->recent.at(0).demand_waits, 7U);
  EXPECT_EQ(read_bundle(), part(50));
}

TEST_F(Learning, AStartThatWentWellIsNotWorthAnObject) {
  must(learn(start_of(part(50)), options(), now));
  EXPECT_EQ(must(learn(start_of(part(50), part(50)), options(), now)), Learned::nothing);
  EXPECT_EQ(profile()->generation, 1U);
  EXPECT_EQ(must(learn(start_of(part(50), part(50)), options(), now + image::kFiguresEvery)), Learned::figures);
  EXPECT_EQ(profile()->generation, 2U);
  EXPECT_DOUBLE_EQ(profile()->recent.at(1).met.recall, 1);
  EXPECT_EQ(read_bundle(), part(50));
}

TEST_F(Learning, AStartThatMissedMuchMakesABundleOfBoth) {
  must(learn(start_of(part(20)), options(), now));
  EXPECT_EQ(must(learn(start_of(part(80), part(20)), options(), now)), Learned::bundle);
  EXPECT_EQ(profile()->generation, 2U);
  EXPECT_LT(profile()->recent.at(1).met.recall, 0.5);
  EXPECT_EQ(by_place(read_bundle()), part(80));
  EXPECT_EQ(must(image::read_bundle_history(*layers.store(), scope, *profile()->bundle)).starts.size(), 2U);
}

TEST_F(Learning, AStartThatReadNextToNothingTeachesNothing) {
  EXPECT_EQ(must(learn(start_of({{0, 0, 1}}), options(), now)), Learned::too_little);
  EXPECT_FALSE(profile());
}

TEST_F(Learning, AStartWhoseBundleDidNotComeSaysNothingAgainstIt) {
  must(learn(start_of(part(20)), options(), now));
  EXPECT_EQ(must(learn(start_of(part(80)), options(), now)), Learned::nothing);
}

TEST_F(Learning, WhoeverWritesTheGenerationFirstWins) {
  must(learn(start_of(part(20)), options(), now));
  // Between this start's look and its write another node learns from its own.
  auto racing = options();
  struct Racing final : blob::ObjectStore {
    std::shared_ptr<blob::ObjectStore> real;
    std::function<void()> before_write;
    Result<std::string> get(std::string_view key) override { return real->get(key); }
    Result<std::string> get_range(std::string_view key, uint64_t o, uint64_t n) override {
      return real->get_range(key, o, n);
    }
    Result<blob::Created> create(std::string_view key, std::string_view bytes) override {
      if (key.contains("/profiles/") && before_write) std::exchange(before_write, nullptr)();
      return real->create(key, bytes);
    }
    Result<blob::Created> create_from_file(std::string_view key, const std::filesystem::path& path) override {
      return real->create_from_file(key, path);
    }
    Result<std::optional<uint64_t>> size(std::string_view key) override { return real->size(key); }
    Result<std::vector<std::string>> list(std::string_view prefix) override { return real->list(prefix); }
    Result<> remove(std::string_view key) override { return real->remove(key); }
  };
  const auto store_of_loser = std::make_shared<Racing>();
  store_of_loser->real = layers.store();
  store_of_loser->before_write = [this] {
    EXPECT_EQ(must(learn(start_of(part(70), part(20)), options(), now)), Learned::bundle);
  };
  racing.store = store_of_loser;
  EXPECT_EQ(must(learn(start_of(part(80), part(20)), racing, now)), Learned::outrun);
  EXPECT_EQ(profile()->generation, 2U);
  EXPECT_EQ(by_place(read_bundle()), part(70));
}

TEST_F(Learning, ABundleHoldsWhatTheLayerSaysWhateverTheDiskHas) {
  for (uint32_t number = 0; number < index->pack_count(); ++number) must(fill(whole(number)));
  flip_on_disk(chunks().front().plain_offset + 10);
  EXPECT_EQ(learn(start_of(part(100)), options(), now).error().code, ErrorCode::corrupt);
  EXPECT_FALSE(profile());
  EXPECT_EQ(must(learn(start_of(part(100)), options(), now)), Learned::bundle)
      << "it was distrusted, and fetched again";
  EXPECT_EQ(read_bundle(), part(100));
}

TEST_F(Learning, HappensInTheBackground) {
  {
    ProfileWriter writer(options());
    writer.add(start_of(part(50)));
    writer.wait_until_idle();
  }
  EXPECT_EQ(profile()->generation, 1U);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path() / "drafts"));
  EXPECT_EQ(metrics.counter("hearth_imagefs_starts_learned_total", "", {{"outcome", "bundle"}}).value(), 1U);
}

TEST_F(Learning, RecorderKeepsTheOrderOfFirstReadsOfItsOwnLayer) {
  Recorder recorder(layer->chunks());
  const Digest pack_digest = pack()->digest();
  const auto all = chunks();
  const auto last = all.back();
  const auto first = all.front();
  recorder.asked(pack_digest, last.pages());
  recorder.asked(pack_digest, {first.pages().offset, kPageBytes});
  recorder.asked(pack_digest, last.pages());
  recorder.asked(Digest::of("another pack"), {0, kPageBytes});
  recorder.waited(milliseconds(3));
  recorder.waited(milliseconds(4));
  const auto recording = recorder.recording();
  const auto pages = static_cast<uint16_t>(last.pages().length / kPageBytes);
  EXPECT_EQ(recording.asked, (PageRuns{{last.number, 0, pages}, {first.number, 0, 1}}));
  EXPECT_EQ(recording.demand_waits, 2U);
  EXPECT_EQ(recording.waited_ms, 7U);
}

TEST_F(Learning, RecorderSplitsAReadAtTheChunksAndJoinsWhatGoesOn) {
  Recorder recorder(layer->chunks());
  const auto size = pack()->plain_size();
  for (uint64_t at = 0; at < size; at += 2 * kPageBytes) {
    recorder.asked(pack()->digest(), {at, std::min<uint64_t>(2 * kPageBytes, size - at)});
  }
  const auto recording = recorder.recording();
  PageRuns expected;
  for (const auto& chunk : chunks()) {
    expected.push_back({chunk.number, 0, static_cast<uint16_t>(chunk.pages().length / kPageBytes)});
  }
  EXPECT_EQ(recording.asked, expected);
}

TEST_F(Learning, WhatAStartReadServesTheNextOneOnAnEmptyNode) {
  Recorder recorder(layer->chunks());
  for (const auto& chunk : chunks()) {
    must(fill(request(chunk)));
    recorder.asked(pack()->digest(), {chunk.pages().offset, kPageBytes});
  }
  RecordedStart start = start_of(recorder.recording().asked);
  start.recording.asked.push_back({0, 1, 255});  // so that it is worth learning
  if (!image::fits(start.recording.asked, *index)) start.recording.asked.pop_back();
  for (uint16_t page = 1; bytes_of(start.recording.asked) < kMinTaughtBytes; ++page) {
    for (const auto& chunk : chunks()) {
      if (page * kPageBytes < chunk.length) start.recording.asked.push_back({chunk.number, page, 1});
    }
  }
  ASSERT_EQ(must(learn(start, options(), now)), Learned::bundle);

  start.layer.reset();
  close();
  std::filesystem::remove_all(folder.path() / "cache");
  open_cache("simulated boot 1");
  open_fetcher({});
  BundleStream stream({.store = layers.store(),
                       .stream = stream_of(layers.store()),
                       .workspace = "acme",
                       .layer = index->digest(),
                       .profile = kKey});
  stream.attach(layer);
  EXPECT_EQ(stream.wait({}).outcome, BundleStream::Outcome::complete);
  for (const auto& chunk : chunks()) EXPECT_TRUE(pack()->present(chunk.plain_offset, 1));
}

}  // namespace
}  // namespace hearth::mount
