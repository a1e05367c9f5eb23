// A layer in a store, a cache that has nothing of it yet, and a fetcher between them.
#pragma once

#include "base/metrics.hpp"
#include "blob/range_reader.hpp"
#include "mount/fetcher.hpp"
#include "mount/store_tier.hpp"
#include "mount/testing/cache_fixture.hpp"
#include "mount/testing/scripted_store.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <unistd.h>

#include <thread>

namespace hearth::mount::testing {

class FetcherFixture : public ::testing::Test {
 protected:
  /// The cache lies in a folder below that one.
  explicit FetcherFixture(const std::string& below = "/tmp") : folder(below) {}

  /// Builds the layer and opens cache and fetcher.
  void start(const Files& files, FetcherOptions options = {}, const std::string& workspace = "acme") {
    index = layers.build(files, workspace);
    store = std::make_shared<ScriptedStore>(layers.store());
    store_tier = std::make_unique<StoreTier>(std::make_shared<blob::RangeReader>(store));
    open_cache("simulated boot 1");
    open_fetcher(std::move(options));
  }
  void open_cache(const std::string& simulated_boot) {
    CacheOptions cache_options;
    cache_options.dirs = {folder.path() / "cache"};
    cache_options.epoch = simulated_boot;
    cache_options.min_free_bytes = 1;
    cache_options.io = &disk;
    cache = must(DiskCache::open(cache_options));
    layer = must(CachedLayer::open(*cache, index, "acme"));
  }
  void open_fetcher(FetcherOptions options) {
    if (options.tiers.empty()) options.tiers = {store_tier.get()};
    options.metrics = &metrics;
    fetcher = std::make_unique<Fetcher>(std::move(options));
  }
  /// Everything is closed and opened again, as after a restart of the machine.
  void simulated_reboot(FetcherOptions options = {}) {
    close();
    open_cache("simulated boot 2");
    open_fetcher(std::move(options));
  }
  void close() {
    fetcher.reset();
    layer.reset();
    cache.reset();
  }

  const std::shared_ptr<PackFile>& pack(uint32_t number = 0) const { return layer->pack(number); }
  /// All chunks of a pack, in order.
  std::vector<PackChunk> chunks(uint32_t number = 0) const {
    return pack(number)->chunks({0, pack(number)->plain_size()});
  }

  FillRequest request(const PackChunk& chunk, Urgency urgency = Urgency::demand) const {
    return {.pack = pack(index->location(chunk.number).pack),
            .offset = chunk.plain_offset,
            .length = chunk.length,
            .urgency = urgency,
            .deadline = Deadline::after(mono_now(), seconds(60))};
  }
  FillRequest whole(uint32_t number = 0, Urgency urgency = Urgency::demand) const {
    return {.pack = pack(number),
            .offset = 0,
            .length = pack(number)->plain_size(),
            .urgency = urgency,
            .deadline = Deadline::after(mono_now(), seconds(60))};
  }
  Result<> fill(const FillRequest& what) const { return fetcher->fill_and_wait(what); }

  /// Whether the bytes of a chunk in its pack file are what they should be.
  bool is_right(const PackChunk& chunk) const {
    std::string bytes(chunk.length, '?');
    const auto& file = pack(index->location(chunk.number).pack);
    return file->present(chunk.plain_offset, chunk.length) &&
           file->read(chunk.plain_offset, bytes.data(), bytes.size()).has_value() && Digest::of(bytes) == chunk.digest;
  }
  bool all_right() const {
    for (uint32_t i = 0; i < index->pack_count(); ++i) {
      for (const auto& chunk : chunks(i)) {
        if (!is_right(chunk)) return false;
      }
    }
    return true;
  }
  void flip_on_disk(uint64_t offset, uint32_t number = 0) const {
    const auto hex = index->pack(number).digest.hex();
    const UniqueFd fd(
        ::open((folder.path() / "cache/packs" / hex.substr(0, 2) / (hex + ".data")).c_str(), O_RDWR | O_CLOEXEC));
    char byte = 0;
    ASSERT_EQ(::pread(fd.get(), &byte, 1, static_cast<off_t>(offset)), 1);
    byte = static_cast<char>(byte ^ 1);
    ASSERT_EQ(::pwrite(fd.get(), &byte, 1, static_cast<off_t>(offset)), 1);
  }
  uint64_t corrupt_count(const std::string& tier) {
    return metrics.counter("hearth_imagefs_corrupt_total", "", {{"tier", tier}}).value();
  }
  /// Until it is true; the test's own time limit ends it otherwise.
  template <class Condition>
  static void eventually(const Condition& condition) {
    while (!condition()) std::this_thread::sleep_for(milliseconds(1));
  }

  LayerStore layers;
  TemporaryFolder folder;
  SimulatedDisk disk;
  MetricRegistry metrics;
  std::shared_ptr<const image::LayerIndex> index;
  std::shared_ptr<ScriptedStore> store;
  std::unique_ptr<StoreTier> store_tier;
  std::shared_ptr<DiskCache> cache;
  std::shared_ptr<CachedLayer> layer;
  std::unique_ptr<Fetcher> fetcher;
};

/// A few files of every kind: some of one block, some of many, raw and compressed.
inline Files mixed_files() {
  Files files{{"weights", noise(3 * 1024 * 1024 + 777, 1)},
              {"text", prose(2 * 1024 * 1024 + 5, 2)},
              {"empty", ""},
              {"block", noise(64 * 1024, 3)},
              {"block1", noise(64 * 1024 + 1, 4)}};
  for (uint32_t i = 0; i < 60; ++i) files["small/" + std::to_string(i)] = prose(100 + i * 331, i);
  return files;
}

}  // namespace hearth::mount::testing
