#include "image/garbage_plan.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace hearth::image {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

const std::string kLayer1 = "ws/w/layers/1", kLayer2 = "ws/w/layers/2", kPack1 = "ws/w/packs/1",
                  kPack2 = "ws/w/packs/2", kSharedPack = "shared/packs/s", kUpload = "ws/w/uploads/u",
                  kCache = "ws/w/build-cache/c.json", kProfile = "ws/w/profiles/1/k/3.json", kBundle = "ws/w/bundles/b";

StoredObject layer(const std::string& key, std::vector<std::string> packs) {
  return {.key = key, .kind = ObjectKind::layer, .needs = std::move(packs)};
}
StoredObject pack(const std::string& key) {
  return {.key = key, .kind = ObjectKind::pack};
}

/// Two layers that share a pack, and what serves the first.
StorePicture two_layers(std::unordered_set<std::string> roots) {
  return {.objects = {pack(kPack1),
                      pack(kPack2),
                      layer(kLayer1, {kPack1, "shared/packs/1", kPack2}),
                      layer(kLayer2, {kPack2}),
                      {.key = kUpload, .kind = ObjectKind::upload},
                      {.key = kCache, .kind = ObjectKind::build_cache, .serves = {kLayer1, "shared/layers/1"}},
                      {.key = kProfile, .kind = ObjectKind::profile, .needs = {kBundle}, .serves = {kLayer1}},
                      {.key = kBundle, .kind = ObjectKind::bundle}},
          .roots = std::move(roots)};
}

std::vector<std::string> keys(const std::vector<const StoredObject*>& objects) {
  std::vector<std::string> out;
  for (const StoredObject* object : objects) out.push_back(object->key);
  return out;
}
std::vector<std::string> garbage(const StorePicture& picture, std::string_view scope = "ws/w") {
  return keys(find_garbage(picture, scope));
}

TEST(GarbagePlan, ARootKeepsItsPacksAndWhatServesIt) {
  EXPECT_THAT(garbage(two_layers({kLayer1})), UnorderedElementsAre(kLayer2, kUpload));
}

TEST(GarbagePlan, APackLivesByAnyOfItsLayers) {
  EXPECT_THAT(garbage(two_layers({kLayer2})),
              UnorderedElementsAre(kLayer1, kPack1, kUpload, kCache, kProfile, kBundle));
}

TEST(GarbagePlan, WithoutRootsEverythingIsGarbage) {
  EXPECT_EQ(garbage(two_layers({})).size(), 8U);
}

TEST(GarbagePlan, AClaimedUploadStays) {
  EXPECT_THAT(garbage(two_layers({kLayer1, kLayer2, kUpload})), IsEmpty());
}

TEST(GarbagePlan, ARootThatIsNotThereKeepsNothing) {
  EXPECT_EQ(garbage(two_layers({"ws/w/layers/9"})).size(), 8U);
}

TEST(GarbagePlan, LooksOnlyAtItsOwnScope) {
  StorePicture picture{.objects = {pack(kSharedPack), layer("ws/other/layers/x", {}), layer(kLayer1, {})}, .roots = {}};
  EXPECT_THAT(garbage(picture, "shared"), ElementsAre(kSharedPack));
  EXPECT_THAT(garbage(picture, "ws/w"), ElementsAre(kLayer1));
  EXPECT_THAT(garbage(picture, "ws/oth"), IsEmpty());
}

TEST(GarbagePlan, ASharedPackLivesByTheLayersOfAnyWorkspace) {
  StorePicture picture{.objects = {pack(kSharedPack), layer("ws/other/layers/x", {"ws/other/packs/s", kSharedPack})},
                       .roots = {"ws/other/layers/x"}};
  EXPECT_THAT(garbage(picture, "shared"), IsEmpty());
}

TEST(GarbagePlan, AnIndexThatCannotBeReadKeepsAllPacksInReach) {
  StorePicture picture = two_layers({kLayer2});
  picture.objects.push_back(pack(kSharedPack));
  picture.objects[3].needs_unknown = true;
  EXPECT_THAT(garbage(picture), UnorderedElementsAre(kLayer1, kUpload, kCache, kProfile, kBundle));
  EXPECT_THAT(garbage(picture, "shared"), IsEmpty());
}

TEST(GarbagePlan, WhatRefersGoesFirst) {
  const StorePicture picture = two_layers({});
  std::unordered_set<std::string> all;
  for (const StoredObject& object : picture.objects) all.insert(object.key);
  EXPECT_THAT(keys(plan_deletion(picture, all).remove),
              ElementsAre(kUpload, kCache, kProfile, kLayer1, kLayer2, kPack1, kPack2, kBundle));
}

TEST(GarbagePlan, SparesWhatIsNeededAgain) {
  const DeletionPlan plan = [] {
    static const StorePicture picture = two_layers({kLayer2});
    return plan_deletion(picture, {kLayer1, kPack1, kPack2});
  }();
  EXPECT_THAT(keys(plan.remove), ElementsAre(kLayer1, kPack1));
  EXPECT_THAT(keys(plan.spare), ElementsAre(kPack2));
}

TEST(GarbagePlan, SparesThePacksOfALayerThatStaysAlthoughItIsGarbage) {
  const StorePicture picture = two_layers({});
  const DeletionPlan plan = plan_deletion(picture, {kLayer2, kPack1, kPack2});
  EXPECT_THAT(keys(plan.remove), ElementsAre(kLayer2)) << "layer 1 was not condemned, and needs both packs";
  EXPECT_THAT(keys(plan.spare), UnorderedElementsAre(kPack1, kPack2));
}

TEST(GarbagePlan, SparesAllPacksWhileAnUnreadableIndexStays) {
  StorePicture picture = two_layers({});
  picture.objects[3].needs_unknown = true;
  EXPECT_THAT(keys(plan_deletion(picture, {kLayer1, kPack1, kPack2}).remove), ElementsAre(kLayer1));
  EXPECT_THAT(keys(plan_deletion(picture, {kLayer1, kLayer2, kPack1, kPack2}).remove),
              ElementsAre(kLayer1, kLayer2, kPack1, kPack2));
}

/// Random pictures, deletions that end anywhere: no object that is left misses what it needs, and no live one is gone.
TEST(GarbagePlan, WhateverIsDeletedUpToWhereverNothingIsLeftBroken) {
  std::mt19937 random(7);
  const auto below = [&random](size_t limit) { return std::uniform_int_distribution<size_t>(0, limit - 1)(random); };
  for (int round = 0; round < 2000; ++round) {
    StorePicture picture;
    const size_t packs = 1 + below(6);
    for (size_t i = 0; i < packs; ++i) picture.objects.push_back(pack("ws/w/packs/" + std::to_string(i)));
    const size_t layers = below(6);
    for (size_t i = 0; i < layers; ++i) {
      StoredObject object = layer("ws/w/layers/" + std::to_string(i), {});
      for (size_t n = below(4); n > 0; --n) object.needs.push_back("ws/w/packs/" + std::to_string(below(packs)));
      if (below(3) == 0) picture.roots.insert(object.key);
      picture.objects.push_back(std::move(object));
    }
    std::shuffle(picture.objects.begin(), picture.objects.end(), random);
    std::unordered_set<std::string> condemned;
    for (const StoredObject& object : picture.objects) {
      if (below(3) > 0) condemned.insert(object.key);
    }
    const DeletionPlan plan = plan_deletion(picture, condemned);
    std::unordered_set<std::string> there;
    for (const StoredObject& object : picture.objects) there.insert(object.key);
    for (const StoredObject* gone : plan.remove) {
      ASSERT_TRUE(condemned.contains(gone->key));
      ASSERT_FALSE(picture.roots.contains(gone->key));
      there.erase(gone->key);
      for (const StoredObject& object : picture.objects) {
        if (!there.contains(object.key)) continue;
        for (const std::string& need : object.needs) ASSERT_TRUE(there.contains(need)) << round;
      }
    }
    EXPECT_EQ(plan.remove.size() + plan.spare.size(), condemned.size());
  }
}

struct StageCase {
  const char* name;
  bool complete;
  minutes age;
  std::set<std::string> live;
  MarkStage stage;
};

class MarkStages : public ::testing::TestWithParam<StageCase> {};

TEST_P(MarkStages, FollowFromAgeAndWriters) {
  const StageCase& given = GetParam();
  const WallTime now(hours(500'000));
  blob::CondemnedMark mark{.scope = "shared", .id = "m", .at = now - given.age, .objects = {"shared/packs/p"}};
  if (given.complete) mark.writers = {"w/a", "w/b"};
  EXPECT_EQ(stage_of(mark, given.live, now, hours(1)), given.stage);
}

INSTANTIATE_TEST_SUITE_P(, MarkStages,
                         ::testing::Values(StageCase{"BeingWritten", false, minutes(1), {}, MarkStage::unfinished},
                                           StageCase{"NeverFinished", false, minutes(21), {}, MarkStage::abandoned},
                                           StageCase{"Young", true, minutes(59), {}, MarkStage::young},
                                           StageCase{"OldWithAWriter", true, minutes(61), {"w/b"}, MarkStage::awaited},
                                           StageCase{
                                               "OldWithOtherWriters", true, minutes(61), {"w/c"}, MarkStage::ripe},
                                           StageCase{"Old", true, minutes(60), {}, MarkStage::ripe}),
                         [](const auto& info) { return info.param.name; });

TEST(GarbagePlan, AMarkThatNamesNothingIsAbandoned) {
  blob::CondemnedMark mark{.scope = "shared", .id = "m"};
  EXPECT_EQ(stage_of(mark, {}, WallTime(), hours(1)), MarkStage::abandoned);
  mark.writers.emplace();
  EXPECT_EQ(stage_of(mark, {}, WallTime(), hours(1)), MarkStage::abandoned);
}

}  // namespace
}  // namespace hearth::image
