// Property: whatever the layers are, tars → merge → index → decode gives exactly the tree of the model.
#include "image/testing/random_image.hpp"

#include "base/random_id.hpp"
#include "image/import.hpp"
#include "image/layer_reader.hpp"
#include "image/testing/layout_writer.hpp"

#include <gtest/gtest.h>

#include <filesystem>

namespace hearth::image {
namespace {

class RandomImageTest : public ::testing::TestWithParam<uint32_t> {};

TEST_P(RandomImageTest, BecomesTheTreeOfTheModel) {
  const auto path = std::filesystem::temp_directory_path() / ("hearth-random-" + random_id());
  std::filesystem::create_directories(path / "store");
  auto store = blob::open_store((path / "store").string()).value();
  const testing::RandomImage image(GetParam(), 1 + static_cast<int>(GetParam() % 5), 40);
  testing::write_layout(path / "layout", {.layers = image.layers()});
  const auto record = import_image(store, StoreScope::workspace("w"), {.path = path / "layout"});
  ASSERT_TRUE(record) << record.error().message;
  const auto reader = LayerReader::open(store, "w", record->layer.digest).value();
  EXPECT_EQ(testing::difference(image.expected(), testing::read_tree(reader).value()), "") << "seed " << GetParam();

  // The same image again, with another number of workers: the same layer, byte for byte.
  auto other = blob::open_store((path / "other").string(), blob::IfMissing::create).value();
  const auto again = import_image(other, StoreScope::workspace("w"), {.path = path / "layout"}, {.workers = 5});
  EXPECT_EQ(again->layer.digest, record->layer.digest);
  const auto keys = store->list("ws/").value();
  EXPECT_EQ(keys, other->list("ws/").value());
  for (const std::string& key : keys) EXPECT_EQ(store->get(key).value(), other->get(key).value()) << key;
  std::filesystem::remove_all(path);
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomImageTest, ::testing::Range(1u, 41u));

}  // namespace
}  // namespace hearth::image
