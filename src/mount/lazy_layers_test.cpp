#include "mount/lazy_layers.hpp"

#include "base/random_id.hpp"
#include "blob/simulated_store.hpp"
#include "image/layer_builder.hpp"
#include "image/layer_reader.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace hearth::mount {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;

/// One layer of one file, stored so that its content compresses well, and a cache.
class LazyLayersTest : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(folder_ / "tree");
    std::ofstream(folder_ / "tree/file") << std::string(300'000, 'x') << random_bytes(1000);
    digest_ = store_layer({});
    cache_ = DiskCache::open({.dirs = {folder_ / "cache"}}).value();
  }
  void TearDown() override {
    cache_.reset();
    fs::remove_all(folder_);
  }

  Digest store_layer(const image::BuildOptions& options) {
    return image::build_layer_from_directory(store_, image::StoreScope::workspace("w"), folder_ / "tree", {}, options)
        ->digest;
  }
  /// As after a removal, a collection, and a deployment of the same tree: its content in another pack.
  Digest store_anew() {
    std::erase_if(store_->objects(),
                  [](const auto& item) { return item.first.contains("/layers/") || item.first.contains("/packs/"); });
    EXPECT_EQ(store_layer({.compression_level = 19}), digest_);
    return image::LayerReader::open(store_, "w", digest_)->index().pack(0).digest;
  }
  void age_kept_index(std::chrono::hours age) {
    std::ofstream(cache_->layer_path(digest_, "compared").value()) << to_iso8601(wall_now() - age);
  }
  size_t reads() const { return store_->events().size(); }

  fs::path folder_ = fs::temp_directory_path() / ("hearth-lazy-layers-" + random_id());
  std::shared_ptr<blob::SimulatedStore> store_ = std::make_shared<blob::SimulatedStore>();
  std::shared_ptr<DiskCache> cache_;
  Digest digest_;
};

TEST_F(LazyLayersTest, AreLeasedWhileTheyAreOpen) {
  const auto leases = std::make_shared<image::LayerLeases>(store_, image::LeaseOptions{.holder = "n"});
  LazyLayers layers(store_, cache_, leases);
  const auto leased = [this] { return image::read_leases(*store_, "w", wall_now())->layers; };
  auto layer = layers.open("w", digest_).value();
  ASSERT_TRUE(leases->flush({}));
  EXPECT_THAT(leased(), ElementsAre(digest_));
  layer.reset();
  auto other = layers.reopen(digest_).value();
  ASSERT_TRUE(leases->flush({}));
  EXPECT_THAT(leased(), ElementsAre(digest_));
}

TEST_F(LazyLayersTest, UseTheKeptIndexWithoutAskingTheStore) {
  LazyLayers layers(store_, cache_);
  ASSERT_TRUE(layers.open("w", digest_));
  const size_t before = reads();
  ASSERT_TRUE(layers.open("w", digest_));
  EXPECT_EQ(reads(), before);
}

TEST_F(LazyLayersTest, FindContentThatWasStoredAnew) {
  LazyLayers layers(store_, cache_);
  const Digest old = layers.open("w", digest_).value()->index().pack(0).digest;
  const Digest anew = store_anew();
  ASSERT_NE(old, anew) << "the test needs another pack";
  age_kept_index(std::chrono::hours(2));
  EXPECT_EQ(layers.open("w", digest_).value()->index().pack(0).digest, anew);
}

TEST_F(LazyLayersTest, AskOnceInAWhileWhetherTheKeptIndexIsTheStores) {
  LazyLayers layers(store_, cache_);
  ASSERT_TRUE(layers.open("w", digest_));
  age_kept_index(std::chrono::hours(2));
  const size_t before = reads();
  ASSERT_TRUE(layers.open("w", digest_));
  EXPECT_EQ(reads(), before + 1);
  ASSERT_TRUE(layers.open("w", digest_));
  EXPECT_EQ(reads(), before + 1);
}

TEST_F(LazyLayersTest, OpenFromWhatIsKeptWhileTheStoreIsAway) {
  LazyLayers layers(store_, cache_);
  ASSERT_TRUE(layers.open("w", digest_));
  age_kept_index(std::chrono::hours(2));
  store_->before = [](const auto&) { return fail(ErrorCode::unavailable, "away"); };
  EXPECT_TRUE(layers.open("w", digest_));
  store_->before = nullptr;
  store_->objects().clear();
  EXPECT_TRUE(layers.open("w", digest_)) << "what the store has no more may be here";
}

}  // namespace
}  // namespace hearth::mount
