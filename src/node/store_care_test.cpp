#include "node/store_care.hpp"

#include "base/random_id.hpp"
#include "blob/simulated_store.hpp"
#include "catalog/catalog.hpp"
#include "image/layer_builder.hpp"
#include "node/store_calls.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>

namespace hearth::node {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

/// Real layers of small files, real catalog records, on a simulated store.
class StoreCareTest : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directory(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  catalog::LayerRef layer(const std::string& content) {
    const auto file = folder_ / "file";
    std::ofstream(file) << content;
    const auto made = image::build_layer_from_file(store_, image::StoreScope::workspace("w"), file, "file").value();
    return {made.digest, made.content_bytes, catalog::LayerRole::code};
  }
  void deploy(const std::string& model, std::vector<catalog::LayerRef> layers) {
    catalog::NewVersion version{{"w", model, "main"}, {}, {}};
    version.config.name = model;
    version.config.handler = "model:predict";
    version.image.layers = std::move(layers);
    ASSERT_TRUE(catalog_.create_version(version));
  }
  void remember(const std::string& name, const catalog::LayerRef& layer) {
    const json entry = {{"format", 1},        {"digest", layer.digest.to_string()},
                        {"size", layer.size}, {"role", 1},
                        {"stale_pyc", 0},     {"made", ""}};
    store_->objects()["ws/w/build-cache/" + name + ".json"] = entry.dump();
  }
  Result<json> call(const std::string& method, json params = json::object()) {
    params["workspace"] = "w";
    const CallControl control{.progress = [this](std::string event) { events_.push_back(std::move(event)); },
                              .stop = {}};
    TRY(const std::string answer, store_calls(care_).at(method)(params.dump(), control));
    return json::parse(answer);
  }
  size_t count(std::string_view part) const {
    return static_cast<size_t>(
        std::ranges::count_if(store_->objects(), [part](const auto& item) { return item.first.contains(part); }));
  }

  std::filesystem::path folder_ = std::filesystem::temp_directory_path() / ("hearth-care-" + random_id());
  std::shared_ptr<blob::SimulatedStore> store_ = std::make_shared<blob::SimulatedStore>();
  catalog::Catalog catalog_{store_};
  std::shared_ptr<StoreCare> care_ = std::make_shared<StoreCare>(store_);
  std::vector<std::string> events_;
};

TEST_F(StoreCareTest, CountsWhatModelsShareOnce) {
  const auto common = layer(random_bytes(300'000));
  const auto one = layer(random_bytes(20'000));
  const auto two = layer(random_bytes(30'000));
  deploy("a", {common, one});
  deploy("b", {common, two});
  deploy("b", {common, two});
  const json usage = call("store_du").value();
  ASSERT_EQ(usage["owners"].size(), 2U);
  const json& a = usage["owners"][0];
  const json& b = usage["owners"][1];
  EXPECT_EQ(a["name"], "model a");
  EXPECT_EQ(a["content_bytes"], 320'000);
  EXPECT_EQ(b["versions"], 2);
  EXPECT_EQ(b["content_bytes"], 660'000);
  EXPECT_LT(a["own_bytes"].get<uint64_t>(), 40'000U);
  EXPECT_LT(usage["stored_bytes"].get<uint64_t>(), 400'000U);
  uint64_t bytes = 0;
  for (const auto& [kind, tally] : usage["scopes"][0]["kinds"].items()) bytes += tally["bytes"].get<uint64_t>();
  EXPECT_EQ(usage["scopes"][0]["total"]["bytes"], bytes);
  EXPECT_EQ(usage["scopes"][0]["garbage"]["objects"], 0);
}

TEST_F(StoreCareTest, CollectsWhatARemovedModelLeaves) {
  const auto kept = layer(random_bytes(10'000));
  const auto gone = layer(random_bytes(20'000));
  deploy("kept", {kept});
  deploy("gone", {gone});
  remember("kept", kept);
  remember("gone", gone);
  remember("lost", {Digest::of("lost"), 1, catalog::LayerRole::packages});
  store_->objects()["ws/w/build-cache/broken.json"] = "{";
  for (const char* alias : {"x", "y"}) ASSERT_TRUE(catalog_.set_alias({"w", "kept", "main"}, alias, 1));
  ASSERT_TRUE(catalog_.remove_model("w", "gone"));
  const json first = call("store_gc", {{"grace_ms", 0}}).value();
  EXPECT_EQ(first["deleted"]["objects"], 0);
  EXPECT_EQ(first["condemned"]["objects"], 6) << "a layer, its pack, three cache entries, a generation of aliases";
  EXPECT_EQ(first["ripe_in_seconds"], 0);
  const json second = call("store_gc", {{"grace_ms", 0}}).value();
  EXPECT_EQ(second["deleted"]["objects"], 6);
  EXPECT_GE(second["deleted"]["bytes"].get<uint64_t>(), 20'000U);
  EXPECT_EQ(count("/layers/"), 1U);
  EXPECT_EQ(count("/packs/"), 1U);
  EXPECT_EQ(count("/build-cache/"), 1U);
  EXPECT_EQ(count("/aliases/"), 1U);
  EXPECT_EQ(count("/condemned/"), 0U);
  EXPECT_EQ(call("store_verify", {{"deep", true}}).value()["broken"], 0);
  EXPECT_THAT(events_, Not(IsEmpty()));
}

TEST_F(StoreCareTest, NamesWhoNeedsWhatIsBroken) {
  deploy("m", {layer(random_bytes(10'000))});
  for (auto& [key, bytes] : store_->objects()) {
    if (key.contains("/packs/")) bytes[5] ^= 1;
  }
  EXPECT_EQ(call("store_verify").value()["broken"], 0);
  const json report = call("store_verify", {{"deep", true}}).value();
  EXPECT_EQ(report["broken"], 2) << "the pack, and a chunk in it";
  EXPECT_EQ(report["problems"][0]["used_by"], json::array({"model m, branch main, version 1"}));
}

TEST_F(StoreCareTest, ADryRunChangesNothing) {
  layer(random_bytes(10'000));
  const auto before = store_->objects();
  EXPECT_EQ(call("store_gc", {{"dry_run", true}}).value()["condemned"]["objects"], 2);
  EXPECT_EQ(store_->objects(), before);
}

TEST_F(StoreCareTest, RefusesAWorkspaceThatIsNoName) {
  const auto answer = store_calls(care_).at("store_gc")(R"({"workspace":"../x"})", {.progress = {}, .stop = {}});
  EXPECT_EQ(answer.error().code, ErrorCode::invalid_argument);
}

TEST_F(StoreCareTest, CollectsRegularly) {
  layer(random_bytes(10'000));
  const RegularCollection collection(care_, milliseconds(1), milliseconds(0));
  while (store_->list("ws/w/packs/")->size() + store_->list("ws/w/condemned/")->size() > 0) {
    std::this_thread::sleep_for(milliseconds(1));
  }
  EXPECT_THAT(store_->list("ws/w/layers/").value(), IsEmpty());
}

}  // namespace
}  // namespace hearth::node
