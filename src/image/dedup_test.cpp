// What is in the store already is not sent again: chunks of other layers, and images that were imported before.
#include "base/file.hpp"
#include "base/little_endian.hpp"
#include "base/random_id.hpp"
#include "blob/keeping.hpp"
#include "blob/simulated_store.hpp"
#include "image/chunk_catalogue.hpp"
#include "image/import.hpp"
#include "image/layer_builder.hpp"
#include "image/layer_reader.hpp"
#include "image/testing/layout_writer.hpp"
#include "image/testing/tar_writer.hpp"
#include "image/testing/tree_spec.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <thread>

namespace hearth::image {
namespace {

using blob::SimulatedStore;
using ::testing::SizeIs;

/// Bytes that do not compress and occur nowhere else.
std::string noise(size_t size, uint64_t seed) {
  std::string bytes;
  bytes.reserve(size + 8);
  uint64_t state = (seed + 1) * 0x9E37'79B9'7F4A'7C15u;
  while (bytes.size() < size) {
    state ^= state << 13u;
    state ^= state >> 7u;
    state ^= state << 17u;
    append_le(bytes, state);
  }
  bytes.resize(size);
  return bytes;
}

class DedupTest : public ::testing::Test {
 protected:
  void SetUp() override {
    base_ = std::filesystem::temp_directory_path() / ("hearth-dedup-" + random_id());
    std::filesystem::create_directories(base_ / "tree");
    catalogue_ = ChunkCatalogue::open(base_ / "chunks").value();
  }
  void TearDown() override { std::filesystem::remove_all(base_); }

  void write(const std::string& path, std::string_view content) const {
    std::filesystem::create_directories((base_ / "tree" / path).parent_path());
    std::ofstream(base_ / "tree" / path, std::ios::binary) << content;
  }
  /// Twenty files of 200 KB.
  void write_packages() const {
    for (int i = 0; i < 20; ++i) write("pkg/" + std::to_string(i), noise(200'000, static_cast<uint64_t>(i)));
  }
  std::shared_ptr<blob::Intent> intent(const std::string& workspace = "w") const {
    return blob::Intent::begin(store_, {.workspace = workspace, .owner = "test"}).value();
  }
  Result<LayerSummary> build(unsigned workers = 0, const std::string& workspace = "w") const {
    return build_layer_from_directory(store_, StoreScope::workspace(workspace), base_ / "tree", {},
                                      {.workers = workers, .intent = intent(workspace), .catalogue = catalogue_});
  }
  LayerReader open(const Digest& digest, const std::string& workspace = "w") const {
    return LayerReader::open(store_, workspace, digest).value();
  }
  void expect_tree(const Digest& digest) const {
    const auto expected = testing::read_tree(base_ / "tree", testing::Holes::ignore).value();
    EXPECT_EQ(testing::difference(expected, testing::read_tree(open(digest)).value()), "");
  }
  size_t created(const std::string& part) const {
    const auto events = store_->events();
    return static_cast<size_t>(std::ranges::count_if(events, [&part](const SimulatedStore::Event& event) {
      return event.call == SimulatedStore::Call::create && event.key.contains(part);
    }));
  }
  void condemn_all_packs() const {
    std::vector<std::string> packs = store_->list("ws/w/packs/").value();
    store_->objects()[blob::objects_key("ws/w", "mark", 0)] = blob::objects_record_json("ws/w", wall_now(), packs);
    store_->objects()[blob::seen_key("ws/w", "mark")] = blob::seen_record_json({});
  }

  std::filesystem::path base_;
  std::shared_ptr<SimulatedStore> store_ = std::make_shared<SimulatedStore>();
  std::shared_ptr<ChunkCatalogue> catalogue_;
};

TEST_F(DedupTest, ASecondLayerRefersToThePacksOfTheFirst) {
  write_packages();
  const LayerSummary first = build().value();
  write("pkg/new", noise(300'000, 99));
  const LayerSummary second = build().value();
  EXPECT_NE(first.digest, second.digest);
  EXPECT_EQ(second.shared_bytes, 20u * 200'000);
  EXPECT_LT(second.new_bytes, 301'000u) << "the new file and its table";
  EXPECT_EQ(second.packs, first.packs + 1);
  expect_tree(second.digest);

  // A chunk lies at the same place of the same pack in both.
  const auto a = open(first.digest);
  const auto b = open(second.digest);
  std::map<Digest, uint32_t> chunks;
  for (uint32_t i = 0; i < a.index().chunk_count(); ++i) chunks[a.index().chunk(i).digest] = i;
  size_t shared = 0;
  for (uint32_t i = 0; i < b.index().chunk_count(); ++i) {
    const auto found = chunks.find(b.index().chunk(i).digest);
    if (found == chunks.end()) continue;
    const ChunkLocation left = a.index().location(found->second);
    const ChunkLocation right = b.index().location(i);
    EXPECT_EQ(a.index().pack(left.pack).digest, b.index().pack(right.pack).digest);
    EXPECT_EQ(a.index().pack(left.pack).plain_size, b.index().pack(right.pack).plain_size);
    EXPECT_EQ(std::tuple(left.offset, left.plain_offset, left.stored_length),
              std::tuple(right.offset, right.plain_offset, right.stored_length));
    ++shared;
  }
  EXPECT_EQ(shared, 20u);
}

TEST_F(DedupTest, TheFirstMegabyteIsSharedToo) {
  write_packages();
  ASSERT_TRUE(build());
  std::filesystem::rename(base_ / "tree/pkg", base_ / "tree/other");
  const LayerSummary moved = build().value();
  EXPECT_EQ(moved.shared_bytes, 20u * 200'000);
  EXPECT_EQ(moved.new_bytes, 0u);
  EXPECT_EQ(moved.packs, 1u);
}

TEST_F(DedupTest, ANodeThatHasSeenNothingAsksTheStore) {
  write_packages();
  ASSERT_TRUE(build());
  catalogue_ = ChunkCatalogue::open(base_ / "of-another-node").value();
  std::filesystem::rename(base_ / "tree/pkg", base_ / "tree/other");
  EXPECT_EQ(build()->new_bytes, 0u);
}

TEST_F(DedupTest, ADamagedTableIsReadFromTheStoreAgain) {
  write_packages();
  ASSERT_TRUE(build());
  for (const auto& file : std::filesystem::directory_iterator(base_ / "chunks"))
    std::ofstream(file.path(), std::ios::binary | std::ios::trunc) << "damaged";
  write("one", "1");
  EXPECT_EQ(build()->shared_bytes, 0u) << "not trusted, and thrown away";
  write("two", "2");
  EXPECT_GE(build()->shared_bytes, 20u * 200'000);
}

TEST_F(DedupTest, PublishedPacksAreSharedAndThoseOfOtherWorkspacesAreNot) {
  write_packages();
  ASSERT_TRUE(build());
  write("one", "1");
  EXPECT_EQ(build(0, "stranger")->shared_bytes, 0u);
  ASSERT_TRUE(build_layer_from_directory(store_, StoreScope::shared(), base_ / "tree", {},
                                         {.intent = intent(), .catalogue = catalogue_}));
  write("two", "2");
  const auto third = build(0, "third").value();
  EXPECT_GE(third.shared_bytes, 20u * 200'000);
  EXPECT_TRUE(open(third.digest, "third").read_chunk(0));
}

TEST_F(DedupTest, WithoutAnIntentNothingIsReferredTo) {
  write_packages();
  ASSERT_TRUE(build());
  write("one", "1");
  const auto summary =
      build_layer_from_directory(store_, StoreScope::workspace("w"), base_ / "tree", {}, {.catalogue = catalogue_});
  EXPECT_EQ(summary->shared_bytes, 0u);
}

TEST_F(DedupTest, CondemnedPacksAreNotReferredTo) {
  write_packages();
  ASSERT_TRUE(build());
  condemn_all_packs();
  write("one", "1");
  EXPECT_EQ(build()->shared_bytes, 0u);
}

TEST_F(DedupTest, AnEqualPackThatIsCondemnedIsClaimed) {
  write_packages();
  ASSERT_TRUE(build());
  condemn_all_packs();
  const auto held = intent();
  ASSERT_TRUE(build_layer_from_directory(store_, StoreScope::workspace("w"), base_ / "tree", {}, {.intent = held}));
  const auto intents = blob::read_intents(*store_, "w").value();
  ASSERT_THAT(intents, SizeIs(1));
  EXPECT_EQ(intents[0].keeps, store_->list("ws/w/packs/").value());
}

TEST_F(DedupTest, ASmallLayerAsksForNothing) {
  write("code.py", noise(500'000, 1));
  ASSERT_TRUE(build());
  const auto events = store_->events();
  EXPECT_TRUE(std::ranges::none_of(events, [](const SimulatedStore::Event& event) {
    return event.call == SimulatedStore::Call::list && event.key.contains("packs/");
  }));
}

TEST_F(DedupTest, PacksDoNotDependOnTheNumberOfWorkers) {
  write_packages();
  ASSERT_TRUE(build());
  for (int i = 0; i < 20; i += 2) write("pkg/" + std::to_string(i), noise(150'000, 1000 + static_cast<uint64_t>(i)));
  write("some", noise(2'000'000, 5));
  const auto before = store_->objects();
  const LayerSummary one = build(1).value();
  const auto with_one = store_->objects();
  store_->objects() = before;
  const LayerSummary five = build(5).value();
  EXPECT_EQ(one.digest, five.digest);
  EXPECT_EQ(store_->objects(), with_one);
}

TEST_F(DedupTest, BuildsAtTheSameTimeMakeTheSameLayer) {
  write_packages();
  ASSERT_TRUE(build());
  write("some", noise(2'000'000, 5));
  std::vector<Result<LayerSummary>> results(4, fail(ErrorCode::internal, "not built"));
  {
    std::vector<std::jthread> threads;
    for (auto& result : results) threads.emplace_back([this, &result] { result = build(1); });
  }
  for (const auto& result : results) {
    ASSERT_TRUE(result) << result.error().message;
    EXPECT_EQ(result->digest, results[0]->digest);
    expect_tree(result->digest);
  }
}

TEST_F(DedupTest, TablesThatWereNotUsedForLongGoFirst) {
  const auto small = ChunkCatalogue::open(base_ / "small", {.disk_bytes = 1000}).value();
  const Digest old = Digest::of("old");
  const Digest used = Digest::of("used");
  small->remember(old, std::string(600, 'x'));
  small->remember(used, std::string(600, 'y'));
  small->touch(used);
  const StoreScope scope = StoreScope::workspace("w");
  ASSERT_TRUE(small->look(*store_, std::span(&scope, 1), [](const std::string&) { return true; }));
  EXPECT_FALSE(std::filesystem::exists(base_ / "small" / old.hex()));
  EXPECT_TRUE(std::filesystem::exists(base_ / "small" / used.hex()));
}

class ImportTwiceTest : public DedupTest {
 protected:
  std::string tar(uint64_t seed) const {
    testing::TarWriter writer;
    for (int i = 0; i < 10; ++i)
      writer.file("f" + std::to_string(seed) + "-" + std::to_string(i),
                  noise(200'000, seed * 100 + static_cast<uint64_t>(i)));
    return writer.finish();
  }
  Result<ImageRecord> import(const std::string& layout) const {
    return import_image(store_, StoreScope::workspace("w"), {.path = base_ / layout},
                        {.intent = intent(), .catalogue = catalogue_});
  }
  /// What an import has written beside its intent.
  size_t written() const { return created("/packs/") + created("/layers/") + created("/imports/"); }
};

TEST_F(ImportTwiceTest, TheSameImageIsNeitherReadNorSentAgain) {
  testing::write_layout(base_ / "layout", {.layers = {testing::gzip(tar(1)), tar(2)}});
  const auto first = import("layout").value();
  EXPECT_GT(first.layer.new_bytes, 4'000'000u);
  const size_t before = written();
  // Nothing of its layers is there to be read: only the manifest and the config are asked for.
  for (const auto& file : std::filesystem::directory_iterator(base_ / "layout/blobs/sha256")) {
    if (file.file_size() > 100'000) std::filesystem::resize_file(file.path(), 0);
  }
  const auto second = import("layout");
  ASSERT_TRUE(second) << second.error().message;
  EXPECT_EQ(second->layer.digest, first.layer.digest);
  EXPECT_EQ(second->env, first.env);
  EXPECT_EQ(second->layer.new_bytes, 0u);
  EXPECT_EQ(written(), before);
}

TEST_F(ImportTwiceTest, AnImageThatSharesLayersSendsOnlyWhatIsNew) {
  testing::write_layout(base_ / "one", {.layers = {testing::gzip(tar(1)), tar(2)}});
  testing::write_layout(base_ / "two", {.layers = {testing::gzip(tar(1)), tar(2), testing::zstd(tar(3))}});
  ASSERT_TRUE(import("one"));
  const auto second = import("two").value();
  EXPECT_EQ(second.layer.shared_bytes, 4'000'000u);
  EXPECT_LT(second.layer.new_bytes, 2'002'000u);
}

TEST_F(ImportTwiceTest, WhatIsGoneSinceIsImportedAgain) {
  testing::write_layout(base_ / "layout", {.layers = {tar(1)}});
  const auto first = import("layout").value();
  for (const char* part : {"ws/w/packs/", "ws/w/layers/"}) {
    const auto keys = store_->list(part).value();
    ASSERT_FALSE(keys.empty());
    store_->objects().erase(keys[0]);
    const auto again = import("layout").value();
    EXPECT_EQ(again.layer.digest, first.layer.digest);
    EXPECT_EQ(store_->list(part).value(), keys);
    EXPECT_TRUE(open(again.layer.digest).read_chunk(0));
  }
  const size_t before = written();
  ASSERT_TRUE(import("layout"));
  EXPECT_EQ(written(), before) << "and remembered again";
}

TEST_F(ImportTwiceTest, AnEarlierImportThatIsCondemnedIsClaimed) {
  testing::write_layout(base_ / "layout", {.layers = {tar(1)}});
  ASSERT_TRUE(import("layout"));
  condemn_all_packs();
  const auto held = intent();
  ASSERT_TRUE(import_image(store_, StoreScope::workspace("w"), {.path = base_ / "layout"}, {.intent = held}));
  const auto intents = blob::read_intents(*store_, "w").value();
  ASSERT_THAT(intents, SizeIs(1));
  EXPECT_EQ(intents[0].keeps, store_->list("ws/w/packs/").value());
}

/// A real store whose user dies at the n-th object that is created.
class DeadlyStore final : public blob::ObjectStore {
 public:
  DeadlyStore(std::shared_ptr<blob::ObjectStore> inner, int deadly) : inner_(std::move(inner)), left_(deadly) {}
  Result<std::string> get(std::string_view key) override { return inner_->get(key); }
  Result<std::string> get_range(std::string_view key, uint64_t offset, uint64_t length) override {
    return inner_->get_range(key, offset, length);
  }
  Result<blob::Created> create(std::string_view key, std::string_view bytes) override {
    if (--left_ == 0) ::raise(SIGKILL);
    return inner_->create(key, bytes);
  }
  Result<blob::Created> create_from_file(std::string_view key, const std::filesystem::path& path) override {
    return inner_->create_from_file(key, path);
  }
  Result<std::optional<uint64_t>> size(std::string_view key) override { return inner_->size(key); }
  Result<std::vector<std::string>> list(std::string_view prefix) override { return inner_->list(prefix); }
  Result<> remove(std::string_view key) override { return inner_->remove(key); }

 private:
  std::shared_ptr<blob::ObjectStore> inner_;
  std::atomic<int> left_;
};

TEST_F(ImportTwiceTest, KilledAtAnyObjectItLeavesOnlyGarbageThatTheNextImportUses) {
  testing::TarWriter big;
  for (uint64_t i = 0; i < 70; ++i) big.file("f" + std::to_string(i), noise(kChunkBytes, i));
  testing::write_layout(base_ / "layout", {.layers = {big.finish()}});
  const auto store = blob::open_store((base_ / "store").string(), blob::IfMissing::create).value();
  const auto import_with = [this](const std::shared_ptr<blob::ObjectStore>& used) -> Result<ImageRecord> {
    TRY(auto held, blob::Intent::begin(used, {.workspace = "w", .owner = "test"}));
    return import_image(used, StoreScope::workspace("w"), {.path = base_ / "layout"},
                        {.intent = held, .catalogue = catalogue_});
  };
  int killed = 0;
  for (int deadly = 1;; ++deadly) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      const bool done = import_with(std::make_shared<DeadlyStore>(store, deadly)).has_value();
      ::_exit(done ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    // An index is there only when all its packs are.
    for (const std::string& key : store->list("ws/w/layers/").value()) {
      const auto digest = Digest::parse(key.substr(std::string("ws/w/layers/").size())).value();
      const auto reader = LayerReader::open(store, "w", digest).value();
      for (uint32_t i = 0; i < reader.index().pack_count(); ++i)
        EXPECT_TRUE(store->size(StoreScope::workspace("w").pack_key(reader.index().pack(i).digest))->has_value());
    }
    if (WIFEXITED(status)) {
      EXPECT_EQ(WEXITSTATUS(status), 0);
      break;
    }
    ++killed;
    ASSERT_LT(killed, 10);
  }
  EXPECT_GE(killed, 4) << "at the intent, at each of two packs, at the index or the record";
  uint64_t stored = 0;
  for (const auto& pack : store->list_objects("ws/w/packs/").value()) stored += pack.size;
  EXPECT_LT(stored, 80u * kChunkBytes) << "what the killed ones had stored was used";
  const auto record = import_with(store).value();
  EXPECT_EQ(testing::read_tree(LayerReader::open(store, "w", record.layer.digest).value())->size(), 71u);
}

}  // namespace
}  // namespace hearth::image
