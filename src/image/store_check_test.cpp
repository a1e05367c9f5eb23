#include "image/store_check.hpp"

#include "base/random_id.hpp"
#include "blob/simulated_store.hpp"
#include "image/layer_builder.hpp"
#include "image/layer_packs.hpp"
#include "image/layer_reader.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace hearth::image {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const StoreScope kScope = StoreScope::workspace("w");

/// One real layer of some files, and a user of it.
class StoreCheckTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("hearth-check-" + random_id());
    std::filesystem::create_directory(folder_);
    for (int i = 0; i < 5; ++i) std::ofstream(folder_ / std::to_string(i)) << random_bytes(50'000);
    std::ofstream(folder_ / "text") << std::string(200'000, 'x');
    layer_ = build_layer_from_directory(store_, kScope, folder_)->digest;
    const auto packs = read_layer_packs(*store_, store_->list_objects("ws/w/layers/")->at(0)).value();
    ASSERT_THAT(packs.packs, SizeIs(1));
    pack_ = kScope.pack_key(packs.packs[0].digest);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  CheckReport check(CheckDepth depth = CheckDepth::shallow) {
    StoreChecker checker(store_, {.depth = depth, .threads = 2});
    return checker.check(kScope, {{"model m, branch main, version 1", layer_}}).value();
  }
  static auto problem(const std::string& object, const std::string& what) {
    return AllOf(Field(&StoreProblem::object, object), Field(&StoreProblem::what, HasSubstr(what)),
                 Field(&StoreProblem::used_by, ElementsAre("model m, branch main, version 1")));
  }
  std::string& bytes(const std::string& key) { return store_->objects()[key]; }

  std::filesystem::path folder_;
  std::shared_ptr<blob::SimulatedStore> store_ = std::make_shared<blob::SimulatedStore>();
  Digest layer_;
  std::string pack_;
};

TEST_F(StoreCheckTest, FindsNothingWrongWithAWholeStore) {
  EXPECT_THAT(check().problems, IsEmpty());
  const CheckReport deep = check(CheckDepth::deep);
  EXPECT_THAT(deep.problems, IsEmpty());
  EXPECT_EQ(deep.layers, 1U);
  EXPECT_EQ(deep.packs, 1U);
  EXPECT_GE(deep.chunks, 6U);
  EXPECT_EQ(deep.bytes_read, bytes(pack_).size());
}

TEST_F(StoreCheckTest, FindsAMissingPack) {
  store_->objects().erase(pack_);
  EXPECT_THAT(check().problems, ElementsAre(problem(pack_, "missing")));
}

TEST_F(StoreCheckTest, FindsAPackThatIsTooShort) {
  bytes(pack_).pop_back();
  EXPECT_THAT(check().problems, ElementsAre(problem(pack_, "an index says")));
}

TEST_F(StoreCheckTest, FindsAFlippedByteOnlyWhenItLooksDeeply) {
  bytes(pack_)[100] ^= 1;
  EXPECT_THAT(check().problems, IsEmpty());
  EXPECT_THAT(check(CheckDepth::deep).problems,
              ElementsAre(problem(pack_, "do not match its digest"), problem(pack_, "1 of ")));
}

TEST_F(StoreCheckTest, FindsEveryFlippedByteOfAPack) {
  for (size_t at = 0; at < bytes(pack_).size(); at += 4999) {
    bytes(pack_)[at] ^= 0x40;
    EXPECT_THAT(check(CheckDepth::deep).problems, ::testing::Not(IsEmpty())) << at;
    bytes(pack_)[at] ^= 0x40;
  }
}

TEST_F(StoreCheckTest, FindsAnIndexThatCannotBeRead) {
  bytes(kScope.layer_key(layer_))[200] ^= 1;
  const auto problems = check().problems;
  ASSERT_THAT(problems, SizeIs(2));
  EXPECT_EQ(problems[0].object, kScope.layer_key(layer_));
  EXPECT_THAT(problems[1], problem("layers/" + layer_.hex(), "missing, or cannot be read"));
}

TEST_F(StoreCheckTest, FindsAMissingLayer) {
  store_->objects().erase(kScope.layer_key(layer_));
  EXPECT_THAT(check().problems, ElementsAre(problem("layers/" + layer_.hex(), "missing")));
}

TEST_F(StoreCheckTest, FindsAnIndexUnderAnotherName) {
  const std::string wrong = kScope.layer_key(Digest::of("another"));
  bytes(wrong) = bytes(kScope.layer_key(layer_));
  EXPECT_THAT(check().problems, ElementsAre(Field(&StoreProblem::object, wrong)));
}

TEST_F(StoreCheckTest, LooksForPacksInTheSharedScopeToo) {
  const std::string shared = "shared" + pack_.substr(kScope.prefix().size());
  bytes(shared) = bytes(pack_);
  store_->objects().erase(pack_);
  EXPECT_THAT(check(CheckDepth::deep).problems, IsEmpty());
  bytes(shared)[0] ^= 1;
  EXPECT_THAT(check(CheckDepth::deep).problems, ::testing::Not(IsEmpty()));
}

TEST_F(StoreCheckTest, TakesNothingForMissingThatIsCollectedWhileItLooks) {
  int lists = 0;
  const std::string index = kScope.layer_key(layer_);
  store_->before = [&](const blob::SimulatedStore::Event& event) -> Result<> {
    if (event.call == blob::SimulatedStore::Call::size && event.key == index) {
      store_->objects().erase(index);
    }
    if (event.key == "ws/w/packs/" && ++lists == 1) store_->objects().erase(pack_);
    return {};
  };
  StoreChecker checker(store_, {});
  EXPECT_THAT(checker.check(kScope, {})->problems, IsEmpty());
}

TEST_F(StoreCheckTest, ReadsTheSamePacksFromAnIndexAsItsDecoder) {
  const auto reader = LayerReader::open(store_, "w", layer_).value();
  const auto packs =
      read_layer_packs(*store_, {kScope.layer_key(layer_), bytes(kScope.layer_key(layer_)).size()}).value();
  ASSERT_EQ(packs.packs.size(), reader.index().pack_count());
  EXPECT_EQ(packs.packs[0], (LayerPacks::Pack{reader.index().pack(0).digest, reader.index().pack(0).size}));
  EXPECT_EQ(packs.content_bytes, reader.index().content_bytes());
}

TEST_F(StoreCheckTest, ReadsNoPacksFromADamagedTable) {
  const std::string key = kScope.layer_key(layer_);
  const std::string whole = bytes(key);
  for (size_t cut = 1; cut < 200; cut += 7) {
    bytes(key) = whole.substr(0, whole.size() - cut);
    EXPECT_EQ(read_layer_packs(*store_, {key, bytes(key).size()}).error().code, ErrorCode::corrupt) << cut;
  }
  for (size_t at = whole.size() - 150; at < whole.size(); ++at) {
    bytes(key) = whole;
    bytes(key)[at] ^= 1;
    EXPECT_FALSE(read_layer_packs(*store_, {key, whole.size()})) << at;
  }
}

}  // namespace
}  // namespace hearth::image
