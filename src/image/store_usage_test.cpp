#include "image/store_usage.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hearth::image {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

const StoreScope kScope = StoreScope::workspace("w");
const Digest kBase = Digest::of("base"), kCode = Digest::of("code"), kOther = Digest::of("other");

/// A shared base of one pack, and two code layers that have a pack in common.
std::vector<StoredObject> objects() {
  const auto layer = [](std::string key, uint64_t size, uint64_t content, std::vector<std::string> packs) {
    return StoredObject{.key = std::move(key),
                        .size = size,
                        .kind = ObjectKind::layer,
                        .content_bytes = content,
                        .needs = std::move(packs)};
  };
  const auto pack = [](std::string key, uint64_t size) {
    return StoredObject{.key = std::move(key), .size = size, .kind = ObjectKind::pack};
  };
  return {layer("shared/layers/" + kBase.hex(), 10, 1000, {"shared/packs/b"}),
          layer("ws/w/layers/" + kCode.hex(), 1, 50, {"ws/w/packs/c", "shared/packs/c", "ws/w/packs/common"}),
          layer("ws/w/layers/" + kOther.hex(), 2, 60, {"ws/w/packs/o", "ws/w/packs/common"}),
          pack("shared/packs/b", 300),
          pack("ws/w/packs/c", 20),
          pack("ws/w/packs/o", 30),
          pack("ws/w/packs/common", 5)};
}

TEST(StoreUsage, CountsEachObjectOnceAndEachVersionWhole) {
  const auto all = objects();
  StoreUsage usage;
  account_owners(kScope, all,
                 {{"model a", 1, kBase},
                  {"model a", 1, kCode},
                  {"model a", 2, kBase},
                  {"model a", 2, kCode},
                  {"model b", 7, kBase},
                  {"model b", 7, kOther},
                  {"model b", 8, Digest::of("missing")}},
                 usage);
  ASSERT_EQ(usage.owners.size(), 2U);
  EXPECT_EQ(usage.owners[0].name, "model a");
  EXPECT_EQ(usage.owners[0].versions, 2U);
  EXPECT_EQ(usage.owners[0].content_bytes, 2 * 1050U);
  EXPECT_EQ(usage.owners[0].stored_bytes, 10U + 300 + 1 + 20 + 5);
  EXPECT_EQ(usage.owners[0].own_bytes, 1U + 20);
  EXPECT_EQ(usage.owners[1].content_bytes, 1060U);
  EXPECT_EQ(usage.owners[1].own_bytes, 2U + 30);
  EXPECT_EQ(usage.content_bytes, 3160U);
  EXPECT_EQ(usage.stored_bytes, 10U + 300 + 1 + 20 + 5 + 2 + 30);
}

TEST(StoreUsage, SortsWhatLiesInAScopeByItsFolder) {
  const std::vector<blob::ObjectInfo> all = {{"ws/w/layers/" + kCode.hex(), 1},
                                             {"ws/w/models/m/main/versions/1.json", 100},
                                             {"ws/w/models/m/main/versions/1.removed", 2},
                                             {"ws/w/packs/c", 20},
                                             {"ws/w/packs/o", 30}};
  const StorePicture picture{.objects = objects(), .roots = {"ws/w/layers/" + kCode.hex()}};
  const ScopeUsage usage = account_scope(kScope, all, picture);
  EXPECT_EQ(usage.name, "ws/w");
  EXPECT_THAT(usage.kinds,
              ElementsAre(Pair("layers", Tally{1, 1}), Pair("models", Tally{2, 102}), Pair("packs", Tally{2, 50})));
  EXPECT_EQ(usage.total, (Tally{5, 153}));
  EXPECT_EQ(usage.garbage, (Tally{2, 32})) << "the other layer and its pack";
}

}  // namespace
}  // namespace hearth::image
