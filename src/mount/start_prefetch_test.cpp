#include "mount/start_prefetch.hpp"

#include "mount/testing/elf_file.hpp"
#include "mount/testing/fetcher_fixture.hpp"

#include <gtest/gtest.h>

namespace hearth::mount {
namespace {

using testing::ElfFile;
using testing::Files;
using testing::noise;

constexpr uint64_t kMiB = uint64_t{1} << 20;

/// A script that imports a module from source, which imports others, and a library that needs another one.
Files program() {
  Files files{{"app/main.py", "import first\n"},
              {"usr/lib/python3.11/first.py", "import second, third\n"},
              {"usr/lib/python3.11/second.py", "import fourth\n"},
              {"usr/lib/python3.11/third.py", "x = 3\n"},
              {"usr/lib/python3.11/fourth.py", "x = 4\n"},
              {"usr/lib/python3.11/unused.py", "x = 5\n"},
              {"lib/libuser.so", ElfFile{.needed = {"libneeded.so.1"}}.bytes()},
              {"lib/libneeded.so.1", ElfFile{.needed = {}}.bytes()}};
  // Between them much that nobody reads, so that nothing comes along by chance.
  for (auto& [path, content] : Files(files)) files[path + ".zz"] = noise(kMiB, static_cast<uint32_t>(path.size()));
  return files;
}

class StartPrefetchTest : public testing::FetcherFixture {
 protected:
  void SetUp() override { start(program(), {.read_around_bytes = 0, .read_ahead_bytes = 0}); }

  std::unique_ptr<StartPrefetch> prefetch(const BundleStream* bundle = nullptr) {
    return std::make_unique<StartPrefetch>(
        StartPrefetchOptions{.layer = layer, .fetcher = fetcher.get(), .bundle = bundle});
  }
  PackChunk chunk_of(const std::string& path) const {
    const auto file = index->lookup(path).value();
    return pack_chunk(layer->chunks(), index->extent(file, 0).chunk);
  }
  const std::shared_ptr<PackFile>& pack_of(const PackChunk& chunk) const {
    return layer->pack(index->location(chunk.number).pack);
  }
  bool is_present(const std::string& path) const {
    const auto chunk = chunk_of(path);
    return pack_of(chunk)->present(chunk.plain_offset, chunk.length);
  }
  void touch(StartPrefetch& ahead, const std::string& path, StartPrefetch::Waited waited = StartPrefetch::Waited::yes) {
    const auto chunk = chunk_of(path);
    ahead.touched(pack_of(chunk)->digest(), chunk.pages(), waited);
  }
};

TEST_F(StartPrefetchTest, WhatAScriptImportsComesWithoutBeingAskedFor) {
  const auto ahead = prefetch();
  touch(*ahead, "app/main.py");
  eventually(
      [this] { return is_present("usr/lib/python3.11/fourth.py") && is_present("usr/lib/python3.11/third.py"); });
  EXPECT_FALSE(is_present("usr/lib/python3.11/unused.py"));
  EXPECT_FALSE(is_present("lib/libuser.so"));
  EXPECT_GT(ahead->counts().runs, 0U);
}

TEST_F(StartPrefetchTest, WhatALibraryNeedsComesWithIt) {
  const auto ahead = prefetch();
  touch(*ahead, "lib/libuser.so");
  eventually([this] { return is_present("lib/libneeded.so.1"); });
}

TEST_F(StartPrefetchTest, AStoreThatFailsEndsNothingButTheFetchAhead) {
  store->before = [](const testing::ScriptedStore::Read&) -> Result<> {
    return fail(ErrorCode::not_found, "simulated: no such pack");
  };
  const auto ahead = prefetch();
  touch(*ahead, "app/main.py");
  eventually([&ahead] { return ahead->counts().failed > 0; });
  store->before = [](const testing::ScriptedStore::Read&) { return Result<>(); };
  EXPECT_TRUE(fill(request(chunk_of("usr/lib/python3.11/first.py"))));
}

TEST_F(StartPrefetchTest, EndsWhileRunsAreUnderWay) {
  testing::Latch latch;
  store->before = [&latch](const testing::ScriptedStore::Read&) -> Result<> {
    latch.pass();
    return {};
  };
  {
    const auto ahead = prefetch();
    touch(*ahead, "app/main.py");
    latch.wait_for(1);
  }
  latch.open();
  eventually([this] { return is_present("app/main.py"); });
}

class AfterABundle : public StartPrefetchTest {
 protected:
  std::unique_ptr<BundleStream> stream() {
    return std::make_unique<BundleStream>(BundleStreamRequest{.store = layers.store(),
                                                              .stream = stream_of(layers.store()),
                                                              .workspace = "acme",
                                                              .layer = index->digest(),
                                                              .profile = "key"});
  }
  void put_profile(const std::optional<image::BundleRef>& bundle) {
    const image::Profile profile{.layer = index->digest(), .key = "key", .generation = 1, .bundle = bundle};
    ASSERT_TRUE(layers.store()->create(image::profile_object_key(image::StoreScope::workspace("acme"), profile),
                                       to_json(profile)));
  }
};

TEST_F(AfterABundle, AStartWithoutOneIsHelped) {
  const auto bundle = stream();
  bundle->attach(layer);
  const auto ahead = prefetch(bundle.get());
  touch(*ahead, "app/main.py");
  eventually([this] { return is_present("usr/lib/python3.11/fourth.py"); });
}

TEST_F(AfterABundle, AStartWhoseBundleIsBrokenIsHelped) {
  put_profile(image::BundleRef{.digest = Digest::of("gone"), .bytes = 10, .streamed_bytes = 10});
  const auto bundle = stream();
  bundle->attach(layer);
  const auto ahead = prefetch(bundle.get());
  touch(*ahead, "app/main.py");
  eventually([this] { return is_present("usr/lib/python3.11/fourth.py"); });
}

TEST_F(AfterABundle, AStartThatIsServedIsLeftAloneUntilItReadsSomethingElse) {
  for (uint32_t number = 0; number < index->pack_count(); ++number) {
    if (layer->pack(number)) ASSERT_TRUE(fill(whole(number)));
  }
  const auto bundle_of_all = [this] {
    image::PageRuns runs;
    for (uint32_t chunk = 0; chunk < index->chunk_count(); ++chunk) runs.push_back({chunk, 0, 1});
    const UniqueFd file(::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    const image::StartHistory none;
    const auto source = [](const image::PageRun& run, char* to) -> Result<> {
      std::fill_n(to, bytes_of(run), 'x');  // never stored: all of it is on disk
      return {};
    };
    const auto bundle = testing::must(image::write_bundle(file.get(), {index->digest(), runs, none}, source));
    const auto path = "/proc/self/fd/" + std::to_string(file.get());
    testing::must(layers.store()->create_from_file(
        image::bundle_object_key(image::StoreScope::workspace("acme"), bundle.digest), path));
    return bundle;
  };
  put_profile(bundle_of_all());
  const auto bundle = stream();
  bundle->attach(layer);
  EXPECT_EQ(bundle->wait({}).outcome, BundleStream::Outcome::not_needed);
  const auto ahead = prefetch(bundle.get());
  touch(*ahead, "app/main.py", StartPrefetch::Waited::no);
  EXPECT_EQ(ahead->counts().advice.touched_bytes, 0U);
  // Reads that wait although the bundle is there, more and more of them.
  eventually([this, &ahead] {
    touch(*ahead, "lib/libuser.so");
    return ahead->counts().advice.touched_bytes > 0;
  });
}

}  // namespace
}  // namespace hearth::mount
