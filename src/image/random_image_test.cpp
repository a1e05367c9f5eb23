// Property: whatever the layers are, tars → merge → index → decode gives exactly the tree of the model.
#include "image/testing/random_image.hpp"

#include "base/random_id.hpp"
#include "blob/simulated_store.hpp"
#include "image/import.hpp"
#include "image/layer_reader.hpp"
#include "image/pack_table.hpp"
#include "image/testing/layout_writer.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <tuple>
#include <vector>

namespace hearth::image {
namespace {

/// What the index says of chunks and blocks is what lies in the packs, as the packs' own tables say it.
void expect_true_places(blob::ObjectStore& store, const LayerReader& reader) {
  const LayerIndex& index = reader.index();
  std::vector<PackTable> packs;
  for (uint32_t i = 0; i < index.pack_count(); ++i) {
    const std::string bytes = store.get(StoreScope::workspace("w").pack_key(index.pack(i).digest)).value();
    EXPECT_EQ(bytes.size(), index.pack(i).size);
    EXPECT_LE(bytes.size(), kPackBytes);
    packs.push_back(read_pack_table(bytes, bytes.size()).value());
    EXPECT_EQ(packs.back().plain_size, index.pack(i).plain_size);
  }
  for (uint32_t chunk = 0; chunk < index.chunk_count(); ++chunk) {
    const ChunkLocation place = index.location(chunk);
    const auto& entries = packs[place.pack].entries;
    const auto entry = std::ranges::find(entries, index.chunk(chunk).digest, &PackEntry::digest);
    ASSERT_NE(entry, entries.end());
    EXPECT_EQ(
        std::tuple(entry->offset, entry->plain_offset, entry->stored_length, entry->encoding, entry->length),
        std::tuple(place.offset, place.plain_offset, place.stored_length, place.encoding, index.chunk(chunk).length));
    const std::string bytes = reader.read_chunk(chunk).value();
    ASSERT_EQ(index.block_count(chunk), (bytes.size() + kBlockBytes - 1) / kBlockBytes);
    for (uint32_t i = 0; i < index.block_count(chunk); ++i)
      EXPECT_EQ(index.block(chunk, i),
                Digest::of(std::string_view(bytes).substr(size_t{i} * kBlockBytes, kBlockBytes)));
  }
}

class RandomImageTest : public ::testing::TestWithParam<uint32_t> {};

TEST_P(RandomImageTest, BecomesTheTreeOfTheModel) {
  const auto path = std::filesystem::temp_directory_path() / ("hearth-random-" + random_id());
  const auto store = std::make_shared<blob::SimulatedStore>();
  const testing::RandomImage image(GetParam(), 1 + static_cast<int>(GetParam() % 5), 40);
  testing::write_layout(path / "layout", {.layers = image.layers()});
  const auto record = import_image(store, StoreScope::workspace("w"), {.path = path / "layout"});
  ASSERT_TRUE(record) << record.error().message;
  const auto reader = LayerReader::open(store, "w", record->layer.digest).value();
  EXPECT_EQ(testing::difference(image.expected(), testing::read_tree(reader).value()), "") << "seed " << GetParam();
  EXPECT_TRUE(reader.index().is_page_mapped());
  expect_true_places(*store, reader);

  // The same image again, with another number of workers: the same layer, byte for byte.
  const auto other = std::make_shared<blob::SimulatedStore>();
  const auto again = import_image(other, StoreScope::workspace("w"), {.path = path / "layout"}, {.workers = 5});
  EXPECT_EQ(again->layer.digest, record->layer.digest);
  EXPECT_EQ(store->objects(), other->objects());
  std::filesystem::remove_all(path);
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomImageTest, ::testing::Range(1u, 41u));

}  // namespace
}  // namespace hearth::image
