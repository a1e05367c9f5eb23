#include "mount/bundle_stream.hpp"

#include "mount/testing/fetcher_fixture.hpp"

#include <gmock/gmock.h>

#include <sys/mman.h>

#include <future>

namespace hearth::mount {
namespace {

using image::PageRuns;
using ::testing::HasSubstr;
using testing::must;

constexpr const char* kKey = "iris_main";

/// A layer with a profile and a bundle of some of its pages, in the order of `runs`.
class BundleStreamTest : public testing::FetcherFixture {
 protected:
  void SetUp() override {
    start(testing::mixed_files(), {.read_around_bytes = 0, .read_ahead_bytes = 0, .gate = &expected});
  }

  /// Every second page of every chunk of at least two pages, last chunk first.
  PageRuns scattered() const {
    PageRuns runs;
    for (uint32_t chunk = index->chunk_count(); chunk-- > 0;) {
      const uint32_t pages = index->chunk(chunk).length / kPageBytes;
      for (uint32_t page = 0; page < pages; page += 2) runs.push_back({chunk, static_cast<uint16_t>(page), 1});
    }
    return runs;
  }
  PageRuns all_pages() const {
    PageRuns runs;
    for (uint32_t chunk = 0; chunk < index->chunk_count(); ++chunk) {
      runs.push_back({chunk, 0, static_cast<uint16_t>((index->chunk(chunk).length + kPageBytes - 1) / kPageBytes)});
    }
    return runs;
  }

  /// The plain bytes of a chunk, from the store.
  const std::string& plain(uint32_t chunk) {
    if (plain_.empty()) {
      const auto reader = must(image::LayerReader::open(layers.store(), "acme", index->digest()));
      for (uint32_t i = 0; i < index->chunk_count(); ++i) plain_.push_back(must(reader.read_chunk(i)));
    }
    return plain_[chunk];
  }
  image::BundleRef put_bundle(const PageRuns& runs, const Digest& of_layer) {
    const UniqueFd file(::memfd_create("bundle", MFD_CLOEXEC));
    image::StartHistory history;
    remember(history, runs);
    const auto source = [this](const image::PageRun& run, char* to) -> Result<> {
      std::fill_n(to, bytes_of(run), '\0');
      plain(run.chunk).copy(to, bytes_of(run), size_t{run.first} * kPageBytes);
      return {};
    };
    const auto bundle = must(image::write_bundle(file.get(), {of_layer, runs, history}, source));
    object.resize(bundle.bytes);
    EXPECT_EQ(::pread(file.get(), object.data(), object.size(), 0), static_cast<ssize_t>(object.size()));
    must(layers.store()->create(image::bundle_object_key(scope, bundle.digest), object));
    return bundle;
  }
  void put_profile(const std::optional<image::BundleRef>& bundle) {
    const image::Profile profile{.layer = index->digest(), .key = kKey, .generation = 1, .bundle = bundle};
    must(layers.store()->create(image::profile_object_key(scope, profile), to_json(profile)));
  }
  bool known_layer = false;

  std::unique_ptr<BundleStream> stream() {
    return std::make_unique<BundleStream>(BundleStreamRequest{.store = store,
                                                              .stream = stream_of(store),
                                                              .workspace = "acme",
                                                              .layer = index->digest(),
                                                              .profile = kKey,
                                                              .known_layer = known_layer,
                                                              .expected = &expected,
                                                              .metrics = &metrics});
  }
  BundleStream::Status stream_and_wait() {
    const auto streamed = stream();
    streamed->attach(layer);
    return streamed->wait({});
  }
  std::string page_on_disk(uint32_t chunk, uint32_t page) const {
    const auto at = index->location(chunk);
    const uint64_t length = std::min<uint64_t>(kPageBytes, index->chunk(chunk).length - uint64_t{page} * kPageBytes);
    std::string bytes(length, '?');
    must(layer->pack(at.pack)->read(at.plain_offset + uint64_t{page} * kPageBytes, bytes.data(), bytes.size()));
    return bytes;
  }
  bool is_present(uint32_t chunk, uint32_t page) const {
    const auto at = index->location(chunk);
    return layer->pack(at.pack)->present(at.plain_offset + uint64_t{page} * kPageBytes, 1);
  }
  /// Of all chunks: pages in `runs` are present and right; others are not present.
  void expect_exactly(const PageRuns& runs) {
    const image::PageSet held(runs);
    for (uint32_t chunk = 0; chunk < index->chunk_count(); ++chunk) {
      for (uint32_t page = 0; uint64_t{page} * kPageBytes < plain(chunk).size(); ++page) {
        ASSERT_EQ(is_present(chunk, page), held.contains(chunk, page)) << chunk << " " << page;
        if (held.contains(chunk, page)) {
          ASSERT_EQ(page_on_disk(chunk, page), plain(chunk).substr(size_t{page} * kPageBytes, kPageBytes));
        }
      }
    }
  }

  const image::StoreScope scope = image::StoreScope::workspace("acme");
  ExpectedPages expected{{.longest = seconds(3600), .patience = seconds(3600)}};
  std::string object;

 private:
  std::vector<std::string> plain_;
};

TEST_F(BundleStreamTest, StoresThePagesOfTheBundleAndNoOthers) {
  put_profile(put_bundle(scattered(), index->digest()));
  const auto status = stream_and_wait();
  EXPECT_EQ(status.outcome, BundleStream::Outcome::complete) << status.error;
  EXPECT_EQ(status.stored_bytes, bytes_of(scattered()));
  EXPECT_EQ(*status.runs, scattered());
  EXPECT_EQ(status.profile->generation, 1U);
  expect_exactly(scattered());
}

TEST_F(BundleStreamTest, ABundleOfEverythingMakesTheLayerComplete) {
  put_profile(put_bundle(all_pages(), index->digest()));
  EXPECT_EQ(stream_and_wait().outcome, BundleStream::Outcome::complete);
  EXPECT_TRUE(layer->complete());
  EXPECT_TRUE(all_right());
}

TEST_F(BundleStreamTest, WithoutAProfileNothingIsRead) {
  EXPECT_EQ(stream_and_wait().outcome, BundleStream::Outcome::no_profile);
  put_profile(std::nullopt);
  const auto status = stream_and_wait();
  EXPECT_EQ(status.outcome, BundleStream::Outcome::no_profile);
  EXPECT_TRUE(status.profile);
  EXPECT_EQ(store->read_count(), 0U);
}

TEST_F(BundleStreamTest, WhatIsOnDiskAlreadyIsNotStreamed) {
  put_profile(put_bundle(all_pages(), index->digest()));
  for (uint32_t number = 0; number < index->pack_count(); ++number) must(fill(whole(number)));
  const auto status = stream_and_wait();
  EXPECT_EQ(status.outcome, BundleStream::Outcome::not_needed);
  EXPECT_EQ(status.stored_bytes, 0U);
  EXPECT_TRUE(status.runs) << "a recorder compares with it all the same";
}

TEST_F(BundleStreamTest, ADamagedBundleGivesNoWrongByte) {
  const auto bundle = put_bundle(scattered(), index->digest());
  put_profile(bundle);
  store->damage = [](const testing::ScriptedStore::Read& read, std::string& bytes) {
    if (read.key.contains("/bundles/")) bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  };
  const auto status = stream_and_wait();
  EXPECT_EQ(status.outcome, BundleStream::Outcome::failed);
  EXPECT_FALSE(status.error.empty());
  for (const auto& run : scattered()) {
    if (is_present(run.chunk, run.first)) {
      EXPECT_EQ(page_on_disk(run.chunk, run.first),
                plain(run.chunk).substr(size_t{run.first} * kPageBytes, kPageBytes));
    }
  }
  store->damage = [](const testing::ScriptedStore::Read&, std::string&) {};
  for (const auto& chunk : chunks()) must(fill(request(chunk)));
  EXPECT_TRUE(all_right());
}

TEST_F(BundleStreamTest, ABundleOfAnotherLayerIsRefused) {
  put_profile(put_bundle(scattered(), Digest::of("another layer")));
  const auto status = stream_and_wait();
  EXPECT_EQ(status.outcome, BundleStream::Outcome::failed);
  EXPECT_THAT(status.error, HasSubstr("of another layer"));
  expect_exactly({});
}

TEST_F(BundleStreamTest, ABundleThatIsGoneIsATroubleOfThisStartAlone) {
  put_profile(image::BundleRef{.digest = Digest::of("gone"), .bytes = 100, .streamed_bytes = 100});
  EXPECT_EQ(stream_and_wait().outcome, BundleStream::Outcome::failed);
  must(fill(whole()));
}

TEST_F(BundleStreamTest, ReceivesWhileTheIndexIsStillOnItsWay) {
  put_profile(put_bundle(scattered(), index->digest()));
  const auto streamed = stream();
  eventually([&streamed] { return streamed->status().received_bytes > 0; });
  EXPECT_EQ(streamed->status().stored_bytes, 0U);
  streamed->attach(layer);
  EXPECT_EQ(streamed->wait({}).outcome, BundleStream::Outcome::complete);
}

TEST_F(BundleStreamTest, OfALayerWhoseContentIsHereOnlyTheBeginIsReceived) {
  put_profile(put_bundle(all_pages(), index->digest()));
  known_layer = true;
  EXPECT_EQ(stream_and_wait().outcome, BundleStream::Outcome::complete) << "its content is not here after all";
  EXPECT_TRUE(all_right());
  const auto again = stream_and_wait();
  EXPECT_EQ(again.outcome, BundleStream::Outcome::not_needed);
  EXPECT_LE(again.received_bytes, BundleStream::kFirstBytes);
}

TEST_F(BundleStreamTest, ADemandReadOfWhatIsComingWaitsAndFetchesNothing) {
  put_profile(put_bundle(all_pages(), index->digest()));
  testing::Latch latch;  // after the first bytes of the bundle, which have its head
  store->midway = [&latch](const testing::ScriptedStore::Read& read) {
    if (read.key.contains("/bundles/")) latch.pass();
  };
  const auto streamed = stream();
  streamed->attach(layer);
  eventually([&streamed] { return streamed->status().runs != nullptr; });
  latch.wait_for(1);
  const auto last = chunks().back();
  std::promise<Result<>> told;
  fetcher->fill(request(last), [&told](Result<> result) { told.set_value(std::move(result)); });
  latch.open();
  EXPECT_TRUE(told.get_future().get());
  EXPECT_TRUE(is_right(last));
  EXPECT_EQ(streamed->wait({}).outcome, BundleStream::Outcome::complete);
  for (const auto& read : store->reads()) EXPECT_THAT(read.key, HasSubstr("/bundles/")) << "a pack was read as well";
}

TEST_F(BundleStreamTest, EndsWhenTheLayerGoesAway) {
  put_profile(put_bundle(scattered(), index->digest()));
  {
    const auto unattached = stream();
  }
  const auto streamed = stream();
  eventually([&streamed] { return streamed->status().received_bytes > 0; });
}

TEST_F(BundleStreamTest, AFullDiskEndsIt) {
  put_profile(put_bundle(scattered(), index->digest()));
  disk.write_error = ENOSPC;
  EXPECT_EQ(stream_and_wait().outcome, BundleStream::Outcome::failed);
  expect_exactly({});
}

}  // namespace
}  // namespace hearth::mount
