#include "catalog/kept_layers.hpp"

#include "blob/simulated_store.hpp"
#include "catalog/catalog.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hearth::catalog {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

LayerRef layer(std::string_view name) {
  return {Digest::of(name), name.size(), LayerRole::code};
}

class KeptLayersTest : public ::testing::Test {
 protected:
  uint32_t deploy(const BranchRef& branch, std::vector<LayerRef> layers, std::vector<ArtifactMount> artifacts = {}) {
    NewVersion version{branch, {}, {}};
    version.config.name = branch.model;
    version.config.handler = "model:predict";
    version.image.layers = std::move(layers);
    version.image.artifacts = std::move(artifacts);
    return catalog_.create_version(version)->version;
  }
  void name_image(const ImageKey& key, const LayerRef& layer) {
    ImageRecord record{.name = key.name, .layer = layer, .source = "", .created = wall_now(), .details = "{}"};
    ASSERT_TRUE(catalog_.set_image(key, record));
  }
  static std::vector<std::string> users(const KeptLayers& kept) {
    std::vector<std::string> out;
    for (const LayerUse& use : kept.uses) out.push_back(use.user());
    return out;
  }
  static std::vector<std::string> replaced(const KeptLayers& kept) {
    std::vector<std::string> out;
    for (const blob::ObjectInfo& object : kept.replaced) out.push_back(object.key);
    return out;
  }

  std::shared_ptr<blob::SimulatedStore> store_ = std::make_shared<blob::SimulatedStore>();
  Catalog catalog_{store_};
  KeptLayerReader reader_{store_};
  const BranchRef main_{"w", "digits", "main"};
};

TEST_F(KeptLayersTest, AreThoseOfEveryVersionThatIsNotRemoved) {
  deploy(main_, {layer("base"), layer("code 1")});
  deploy(main_, {layer("base"), layer("code 2")}, {{layer("weights"), "w", "/w"}});
  deploy({"w", "digits", "a/b"}, {layer("code 3")});
  deploy({"v", "digits", "main"}, {layer("code 4")});
  ASSERT_TRUE(catalog_.remove_version(main_, 1));
  const KeptLayers kept = reader_.workspace("w").value();
  EXPECT_THAT(users(kept),
              UnorderedElementsAre("model digits, branch main, version 2", "model digits, branch main, version 2",
                                   "model digits, branch main, version 2", "model digits, branch a/b, version 1"));
  EXPECT_EQ(kept.uses.back().layer, layer("weights"));
}

TEST_F(KeptLayersTest, AreThoseOfTheNewestGenerationOfEveryImageName) {
  const ImageKey own{ImageScope::workspace, "w", "tf"};
  name_image(own, layer("one"));
  name_image(own, layer("two"));
  name_image({ImageScope::shared, "", "python"}, layer("base"));
  const KeptLayers kept = reader_.workspace("w").value();
  EXPECT_THAT(users(kept), ElementsAre("image tf"));
  EXPECT_EQ(kept.uses[0].layer.digest, layer("two").digest);
  EXPECT_THAT(replaced(kept), ElementsAre("ws/w/images/tf/1.json"));
  EXPECT_THAT(users(reader_.shared().value()), ElementsAre("image python"));
}

TEST_F(KeptLayersTest, NameTheGenerationsOfAliasesThatWereReplaced) {
  deploy(main_, {layer("code")});
  for (const char* alias : {"a", "b", "c"}) ASSERT_TRUE(catalog_.set_alias(main_, alias, 1));
  EXPECT_THAT(replaced(reader_.workspace("w").value()),
              UnorderedElementsAre("ws/w/models/digits/main/aliases/1.json", "ws/w/models/digits/main/aliases/2.json"));
}

TEST_F(KeptLayersTest, FetchARecordOnce) {
  deploy(main_, {layer("code")});
  ASSERT_TRUE(reader_.workspace("w"));
  const size_t before = store_->events().size();
  ASSERT_TRUE(reader_.workspace("w"));
  EXPECT_EQ(store_->events().size(), before + 2) << "two listings";
}

TEST_F(KeptLayersTest, LeaveNothingOutSilently) {
  deploy(main_, {layer("code")});
  store_->objects()["ws/w/models/digits/main/versions/2.json"] = R"({"format":2})";
  const auto kept = reader_.workspace("w");
  ASSERT_FALSE(kept);
  EXPECT_EQ(kept.error().code, ErrorCode::corrupt);
  EXPECT_THAT(kept.error().message, HasSubstr("versions/2.json"));
}

TEST_F(KeptLayersTest, ReadAgainWhenAGenerationIsReplacedAndCollectedMeanwhile) {
  const ImageKey key{ImageScope::workspace, "w", "tf"};
  name_image(key, layer("one"));
  bool done = false;
  store_->before = [&](const blob::SimulatedStore::Event& event) -> Result<> {
    if (event.call != blob::SimulatedStore::Call::get || std::exchange(done, true)) return {};
    name_image(key, layer("two"));
    store_->objects().erase("ws/w/images/tf/1.json");
    return {};
  };
  const KeptLayers kept = reader_.workspace("w").value();
  ASSERT_EQ(kept.uses.size(), 1U);
  EXPECT_EQ(kept.uses[0].layer.digest, layer("two").digest);
  EXPECT_THAT(kept.replaced, IsEmpty());
}

TEST_F(KeptLayersTest, AreNoneInAnEmptyStore) {
  EXPECT_THAT(reader_.workspace("w")->uses, IsEmpty());
  EXPECT_THAT(reader_.shared()->uses, IsEmpty());
}

}  // namespace
}  // namespace hearth::catalog
