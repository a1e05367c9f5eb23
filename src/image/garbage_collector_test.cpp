#include "image/garbage_collector.hpp"

#include "blob/intent.hpp"
#include "blob/simulated_store.hpp"
#include "image/import.hpp"
#include "image/layer_leases.hpp"
#include "image/profile.hpp"
#include "image/simulated_index.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hearth::image {
namespace {

using blob::SimulatedStore;
using std::chrono::hours;
using std::chrono::minutes;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const StoreScope kScope = StoreScope::workspace("w");
const Digest kLayer = Digest::of("layer"), kOther = Digest::of("other layer");
const Digest kPack = Digest::of("pack"), kCommon = Digest::of("common pack");

class GarbageCollectorTest : public ::testing::Test {
 protected:
  void SetUp() override {
    put(kScope.pack_key(kPack), "pack");
    put(kScope.pack_key(kCommon), "pack");
    put(kScope.layer_key(kLayer), simulated_index({kPack, kCommon}));
    put(kScope.layer_key(kOther), simulated_index({kCommon}));
  }
  void put(const std::string& key, std::string bytes) { store_->objects()[key] = std::move(bytes); }
  bool has(const std::string& key) { return store_->objects().contains(key); }
  std::vector<std::string> keys_with(std::string_view part) {
    std::vector<std::string> keys;
    for (const auto& [key, bytes] : store_->objects()) {
      if (key.contains(part)) keys.push_back(key);
    }
    return keys;
  }
  void pass(Duration duration) {
    mono_ += duration;
    wall_ += std::chrono::duration_cast<WallTime::duration>(duration);
  }
  blob::Timekeeper time() {
    return {
        .wall = [this] { return wall_; }, .mono = [this] { return mono_; }, .pause = [this](Duration d) { pass(d); }};
  }
  std::shared_ptr<blob::Intent> begin_intent() {
    return blob::Intent::begin(store_,
                               {.workspace = "w", .owner = "t", .renew_every = Duration::zero(), .time = time()})
        .value();
  }
  Result<CollectReport> collect(CollectMode mode = CollectMode::collect, const StoreScope& scope = kScope) {
    GarbageCollector collector(
        store_, [this](const StoreScope& of) -> Result<ScopeRoots> { return roots_(of); },
        {.grace = hours(1), .mode = mode, .threads = 2, .time = time(), .stop = stop_.get_token()});
    return collector.run(scope);
  }
  void root(std::vector<Digest> layers) {
    roots_ = [layers = std::move(layers)](const StoreScope& scope) -> Result<ScopeRoots> {
      return ScopeRoots{.layers = scope == kScope ? layers : std::vector<Digest>(), .servants = {}, .replaced = {}};
    };
  }

  std::shared_ptr<SimulatedStore> store_ = std::make_shared<SimulatedStore>();
  std::function<Result<ScopeRoots>(const StoreScope&)> roots_ = [](const StoreScope&) { return ScopeRoots{}; };
  WallTime wall_{hours(500'000)};
  MonoTime mono_{hours(5)};
  std::stop_source stop_;
};

TEST_F(GarbageCollectorTest, CondemnsFirstAndDeletesWhenTheGraceIsOver) {
  root({kOther});
  auto report = collect().value();
  EXPECT_EQ(report.condemned[ObjectKind::layer].objects, 1U);
  EXPECT_EQ(report.condemned[ObjectKind::pack], (Tally{1, 4}));
  EXPECT_THAT(report.deleted, IsEmpty());
  EXPECT_EQ(report.ripe_in, hours(1));

  pass(minutes(59));
  report = collect().value();
  EXPECT_THAT(report.deleted, IsEmpty());
  EXPECT_THAT(report.condemned, IsEmpty()) << "nothing is condemned twice";
  EXPECT_EQ(report.waiting[ObjectKind::pack].objects, 1U);
  EXPECT_EQ(report.ripe_in, minutes(1));

  pass(minutes(1));
  report = collect().value();
  EXPECT_EQ(report.deleted[ObjectKind::layer].objects, 1U);
  EXPECT_EQ(report.deleted[ObjectKind::pack].objects, 1U);
  EXPECT_FALSE(has(kScope.layer_key(kLayer)));
  EXPECT_FALSE(has(kScope.pack_key(kPack)));
  EXPECT_TRUE(has(kScope.layer_key(kOther)));
  EXPECT_TRUE(has(kScope.pack_key(kCommon)));
  EXPECT_THAT(keys_with("/condemned/"), IsEmpty());
}

TEST_F(GarbageCollectorTest, ADryRunSaysWhatItWouldDoAndWritesNothing) {
  root({kOther});
  const auto before = store_->objects();
  EXPECT_EQ(collect(CollectMode::dry_run)->condemned[ObjectKind::pack].objects, 1U);
  EXPECT_EQ(store_->objects(), before);
  ASSERT_TRUE(collect());
  pass(hours(1));
  const auto condemned = store_->objects();
  const auto report = collect(CollectMode::dry_run).value();
  EXPECT_EQ(report.deleted.at(ObjectKind::pack).objects, 1U);
  EXPECT_THAT(report.condemned, IsEmpty());
  EXPECT_EQ(store_->objects(), condemned);
}

TEST_F(GarbageCollectorTest, SparesWhatIsNeededAgain) {
  root({kOther});
  ASSERT_TRUE(collect());
  pass(hours(1));
  root({kOther, kLayer});
  const auto report = collect().value();
  EXPECT_THAT(report.deleted, IsEmpty());
  EXPECT_EQ(report.spared.objects, 2U);
  EXPECT_THAT(keys_with("/condemned/"), IsEmpty());
}

TEST_F(GarbageCollectorTest, WaitsForWritersThatWereAtWorkWhenItCondemned) {
  root({kOther});
  auto intent = begin_intent();
  EXPECT_EQ(collect()->writers, 1U);
  pass(minutes(50));
  ASSERT_TRUE(intent->renew());
  pass(minutes(10));
  auto report = collect().value();
  EXPECT_THAT(report.deleted, IsEmpty());
  EXPECT_EQ(report.writers, 1U);
  intent.reset();
  EXPECT_EQ(collect()->deleted[ObjectKind::layer].objects, 1U);
}

TEST_F(GarbageCollectorTest, DoesNotWaitForWritersThatBeganSince) {
  root({kOther});
  ASSERT_TRUE(collect());
  pass(hours(1));
  const auto intent = begin_intent();
  EXPECT_EQ(collect()->deleted[ObjectKind::layer].objects, 1U);
}

TEST_F(GarbageCollectorTest, LeavesWhatAWriterClaims) {
  root({kOther});
  ASSERT_TRUE(collect());
  pass(hours(1));
  auto intent = begin_intent();
  ASSERT_TRUE(intent->keep(kScope.layer_key(kLayer)).value());
  EXPECT_THAT(collect()->deleted, IsEmpty());
  EXPECT_TRUE(has(kScope.pack_key(kPack))) << "with the layer its packs are claimed";
  intent.reset();
  ASSERT_TRUE(collect());
  pass(hours(1));
  EXPECT_EQ(collect()->deleted[ObjectKind::layer].objects, 1U) << "the writer made no root";
}

TEST_F(GarbageCollectorTest, TakesASilentWriterForDead) {
  root({kOther});
  const auto intent = begin_intent();
  ASSERT_TRUE(intent->hand_over());
  ASSERT_TRUE(collect());
  pass(blob::kIntentLife);
  EXPECT_EQ(collect()->deleted[ObjectKind::layer].objects, 1U);
  EXPECT_THAT(keys_with("/intents/"), IsEmpty());
}

TEST_F(GarbageCollectorTest, LeavesWhatANodeHasMounted) {
  ASSERT_TRUE(store_->create(leases_prefix("w") + "n/0", lease_record_json({wall_, {kLayer}})));
  ASSERT_TRUE(collect());
  pass(hours(2));
  ASSERT_TRUE(collect());
  EXPECT_TRUE(has(kScope.layer_key(kLayer)));
  EXPECT_TRUE(has(kScope.pack_key(kPack)));
  EXPECT_FALSE(has(kScope.layer_key(kOther)));
  pass(hours(2));
  ASSERT_TRUE(collect());
  pass(hours(1));
  ASSERT_TRUE(collect());
  EXPECT_THAT(store_->objects(), IsEmpty()) << "the lease is void";
}

TEST_F(GarbageCollectorTest, DeletesNothingWhenARootCannotBeRead) {
  ASSERT_TRUE(collect());
  pass(hours(1));
  roots_ = [](const StoreScope&) { return fail(ErrorCode::corrupt, "version 3 of m: not JSON"); };
  const auto report = collect();
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, ErrorCode::corrupt);
  EXPECT_THAT(report.error().message, HasSubstr("version 3 of m"));
  EXPECT_THAT(keys_with("/packs/"), SizeIs(2));
}

TEST_F(GarbageCollectorTest, AnIndexThatCannotBeReadKeepsEveryPack) {
  store_->objects()[kScope.layer_key(kOther)].back() ^= 1;
  root({kOther});
  ASSERT_THAT(collect()->problems, ElementsAre(HasSubstr(kOther.hex())));
  pass(hours(1));
  ASSERT_TRUE(collect());
  EXPECT_FALSE(has(kScope.layer_key(kLayer)));
  EXPECT_THAT(keys_with("/packs/"), SizeIs(2));
}

TEST_F(GarbageCollectorTest, SharedPacksLiveByTheLayersOfEveryWorkspace) {
  const StoreScope shared = StoreScope::shared();
  const Digest unused = Digest::of("unused");
  put(shared.pack_key(kPack), "pack");
  put(shared.pack_key(unused), "pack");
  put(StoreScope::workspace("v").layer_key(kLayer), simulated_index({kPack}));
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(collect(CollectMode::collect, shared));
    pass(hours(1));
  }
  EXPECT_TRUE(has(shared.pack_key(kPack)));
  EXPECT_FALSE(has(shared.pack_key(unused)));
  EXPECT_TRUE(has(kScope.pack_key(kPack))) << "another scope is not touched";
}

TEST_F(GarbageCollectorTest, SharedScopeWaitsForWritersOfEveryWorkspace) {
  put(StoreScope::shared().pack_key(Digest::of("unused")), "pack");
  auto intent = begin_intent();
  ASSERT_TRUE(collect(CollectMode::collect, StoreScope::shared()));
  pass(minutes(59));
  ASSERT_TRUE(intent->renew());
  pass(minutes(2));
  EXPECT_THAT(collect(CollectMode::collect, StoreScope::shared())->deleted, IsEmpty());
  intent.reset();
  EXPECT_EQ(collect(CollectMode::collect, StoreScope::shared())->deleted[ObjectKind::pack].objects, 1U);
}

/// Wherever the store fails, what is left is whole, and a later run finishes.
TEST_F(GarbageCollectorTest, AFailureAnywhereLeavesNothingBroken) {
  const auto full = store_->objects();
  for (size_t failing = 0;; ++failing) {
    store_->objects() = full;
    root({});
    ASSERT_TRUE(collect());
    pass(hours(1));
    std::atomic<size_t> calls = 0;
    store_->before = [&](const SimulatedStore::Event&) -> Result<> {
      if (calls++ >= failing) return fail(ErrorCode::unavailable, "simulated: the store is gone");
      return {};
    };
    const auto report = collect();
    store_->before = nullptr;
    for (const Digest& layer : {kLayer, kOther}) {
      const auto index = store_->objects().find(kScope.layer_key(layer));
      if (index == store_->objects().end()) continue;
      for (const Digest& pack : packs_of_index(index->second)) ASSERT_TRUE(has(kScope.pack_key(pack))) << failing;
    }
    if (report) break;
    for (int i = 0; i < 3; ++i) {
      pass(hours(1));
      ASSERT_TRUE(collect());
    }
    ASSERT_THAT(store_->objects(), IsEmpty()) << failing;
  }
}

TEST_F(GarbageCollectorTest, DoesNotDeleteByAMarkThatAnotherRunHasFinished) {
  ASSERT_TRUE(collect());
  pass(hours(1));
  const auto finish_it = [this](const SimulatedStore::Event& event) -> Result<> {
    if (event.call != SimulatedStore::Call::create || !event.key.contains("/delete-")) return {};
    for (const std::string& key : keys_with("/condemned/")) store_->objects().erase(key);
    return {};
  };
  store_->before = finish_it;
  const auto report = collect();
  store_->before = nullptr;
  ASSERT_TRUE(report);
  EXPECT_THAT(report->deleted, IsEmpty());
  EXPECT_TRUE(has(kScope.pack_key(kPack)));
}

TEST_F(GarbageCollectorTest, DoesNotDeleteWhenItsWordIsOld) {
  ASSERT_TRUE(collect());
  pass(hours(1));
  store_->before = [this](const SimulatedStore::Event& event) -> Result<> {
    if (event.call == SimulatedStore::Call::create && event.key.contains("/delete-")) pass(blob::kDeletionTrusted);
    return {};
  };
  const auto report = collect();
  store_->before = nullptr;
  EXPECT_EQ(report.error().code, ErrorCode::unavailable);
  EXPECT_TRUE(has(kScope.layer_key(kLayer)));
  EXPECT_THAT(keys_with("/delete-"), SizeIs(::testing::Ge(1U))) << "its word stands until nobody can be surprised";
}

TEST_F(GarbageCollectorTest, TakesItsWordBackWhenItIsStopped) {
  ASSERT_TRUE(collect());
  pass(hours(1));
  store_->before = [this](const SimulatedStore::Event& event) -> Result<> {
    if (event.key.contains("/delete-")) stop_.request_stop();
    return {};
  };
  EXPECT_EQ(collect().error().code, ErrorCode::cancelled);
  store_->before = nullptr;
  EXPECT_TRUE(has(kScope.layer_key(kLayer)));
}

TEST_F(GarbageCollectorTest, LeavesTheMarkToAnotherRunThatDeletesByIt) {
  ASSERT_TRUE(collect());
  pass(hours(1));
  const std::string seen = keys_with("/seen").at(0);
  const std::string folder = seen.substr(0, seen.size() - 4);
  put(folder + "delete-other-0", blob::deletion_record_json(wall_));
  ASSERT_TRUE(collect());
  EXPECT_TRUE(has(seen));
  pass(blob::kDeletionLife);
  ASSERT_TRUE(collect());
  EXPECT_THAT(keys_with("/condemned/"), IsEmpty()) << "that one is dead";
}

TEST_F(GarbageCollectorTest, RemovesMarksThatWereNeverFinished) {
  put("ws/w/condemned/m/objects-0", blob::objects_record_json("ws/w", wall_, {kScope.pack_key(kPack)}));
  root({kLayer, kOther});
  ASSERT_TRUE(collect());
  EXPECT_THAT(keys_with("/condemned/"), SizeIs(1));
  pass(blob::kDeletionLife);
  ASSERT_TRUE(collect());
  EXPECT_THAT(keys_with("/condemned/"), IsEmpty());
}

TEST_F(GarbageCollectorTest, CondemnsAnyNumberOfObjects) {
  store_->objects().clear();
  for (size_t i = 0; i < blob::kKeysPerRecord + 5; ++i) put("ws/w/uploads/" + std::to_string(i), "x");
  ASSERT_TRUE(collect());
  EXPECT_THAT(keys_with("/objects-"), SizeIs(2));
  pass(hours(1));
  EXPECT_EQ(collect()->deleted[ObjectKind::upload].objects, blob::kKeysPerRecord + 5);
  EXPECT_THAT(store_->objects(), IsEmpty());
}

TEST_F(GarbageCollectorTest, ProfilesLiveByTheirLayerAndBundlesByTheNewestProfiles) {
  const auto profile = [this](const Digest& layer, uint64_t generation) {
    const Digest bundle = Digest::of(layer.hex() + std::to_string(generation));
    const Profile made{
        .layer = layer,
        .key = "m",
        .generation = generation,
        .created = wall_,
        .starts = 1,
        .bundle = BundleRef{.digest = bundle, .bytes = 5, .streamed_bytes = 5, .plain_bytes = 9, .runs = 1},
        .recent = {}};
    put(profile_object_key(kScope, made), to_json(made));
    put(bundle_object_key(kScope, bundle), "bytes");
    return bundle_object_key(kScope, bundle);
  };
  root({kLayer});
  std::vector<std::string> bundles;
  for (uint64_t generation = 1; generation <= kKeptGenerations + 2; ++generation) {
    bundles.push_back(profile(kLayer, generation));
  }
  const std::string others = profile(kOther, 1);
  put("ws/w/bundles/nobodys", "bytes");
  ASSERT_TRUE(collect());
  pass(hours(1));
  const auto report = collect().value();
  EXPECT_EQ(report.deleted.at(ObjectKind::profile).objects, 3U);
  EXPECT_EQ(report.deleted.at(ObjectKind::bundle).objects, 4U);
  EXPECT_FALSE(has(bundles[0]));
  EXPECT_FALSE(has(bundles[1]));
  EXPECT_TRUE(has(bundles[2]));
  EXPECT_FALSE(has(others));
  EXPECT_THAT(keys_with("/profiles/"), SizeIs(kKeptGenerations));
}

TEST_F(GarbageCollectorTest, AProfileThatCannotBeReadKeepsEveryBundle) {
  root({kLayer});
  put(kScope.prefix() + "/profiles/" + kLayer.hex() + "/m/1.json", R"({"format":99})");
  put("ws/w/bundles/x", "bytes");
  EXPECT_THAT(collect()->problems, ElementsAre(HasSubstr("/m/1.json")));
  pass(hours(1));
  ASSERT_TRUE(collect());
  EXPECT_TRUE(has("ws/w/bundles/x"));
}

TEST_F(GarbageCollectorTest, WhatAnImportBecameIsForgottenWithItsLayer) {
  for (const Digest& layer : {kLayer, kOther}) {
    ImageRecord record;
    record.layer.digest = layer;
    record.manifest = layer;
    put("ws/w/imports/" + layer.hex() + "/2.json", to_json(record));
  }
  put("ws/w/imports/x/2.json", "not a record");
  root({kLayer});
  ASSERT_TRUE(collect());
  pass(hours(1));
  EXPECT_EQ(collect()->deleted.at(ObjectKind::import_record).objects, 2U);
  EXPECT_THAT(keys_with("/imports/"), ElementsAre("ws/w/imports/" + kLayer.hex() + "/2.json"));
}

TEST_F(GarbageCollectorTest, CollectsWhatServesNothingAndWhatWasReplaced) {
  put("ws/w/build-cache/a.json", "{}");
  put("ws/w/build-cache/b.json", "{}");
  put("ws/w/images/n/1.json", "{}");
  roots_ = [](const StoreScope& scope) -> Result<ScopeRoots> {
    if (scope != kScope) return ScopeRoots{};
    return ScopeRoots{
        .layers = {kLayer},
        .servants =
            {{.key = "ws/w/build-cache/a.json", .kind = ObjectKind::build_cache, .serves = layer_keys(scope, kLayer)},
             {.key = "ws/w/build-cache/b.json", .kind = ObjectKind::build_cache, .serves = layer_keys(scope, kOther)}},
        .replaced = {{.key = "ws/w/images/n/1.json", .kind = ObjectKind::name}}};
  };
  ASSERT_TRUE(collect());
  pass(hours(1));
  const auto report = collect().value();
  EXPECT_EQ(report.deleted.at(ObjectKind::build_cache).objects, 1U);
  EXPECT_EQ(report.deleted.at(ObjectKind::name).objects, 1U);
  EXPECT_TRUE(has("ws/w/build-cache/a.json"));
  EXPECT_FALSE(has("ws/w/build-cache/b.json"));
}

}  // namespace
}  // namespace hearth::image
