#include "image/layer_report.hpp"

#include "base/random_id.hpp"
#include "blob/simulated_store.hpp"
#include "image/chunk_catalogue.hpp"
#include "image/layer_builder.hpp"
#include "image/layer_reader.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>

namespace hearth::image {
namespace {

namespace fs = std::filesystem;

/// Does not compress.
std::string noise(size_t size, uint32_t seed) {
  std::mt19937 generator(seed);
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(generator());
  return bytes;
}

class LayerReportTest : public ::testing::Test {
 protected:
  void SetUp() override {
    base_ = fs::temp_directory_path() / ("hearth-report-" + random_id());
    fs::create_directories(base_);
    catalogue_ = ChunkCatalogue::open(base_ / "chunks").value();
  }
  void TearDown() override { fs::remove_all(base_); }

  /// A layer of these files; with look-up, content of earlier layers is referred to.
  LayerReader layer(const std::map<std::string, std::string>& files, bool look_up = false) {
    const fs::path tree = base_ / random_id();
    fs::create_directories(tree);
    for (const auto& [path, content] : files) {
      fs::create_directories((tree / path).parent_path());
      std::ofstream(tree / path, std::ios::binary) << content;
    }
    fs::create_symlink("a", tree / "link");
    BuildOptions options;
    if (look_up) {
      options.intent = blob::Intent::begin(store_, {.workspace = "w", .owner = "test"}).value();
      options.catalogue = catalogue_;
    }
    const auto built = build_layer_from_directory(store_, StoreScope::workspace("w"), tree, {}, options).value();
    return LayerReader::open(store_, "w", built.digest).value();
  }

  fs::path base_;
  std::shared_ptr<blob::SimulatedStore> store_ = std::make_shared<blob::SimulatedStore>();
  std::shared_ptr<ChunkCatalogue> catalogue_;
};

TEST_F(LayerReportTest, CountsFilesAndWhatEqualContentAndCompressionSave) {
  const std::string random = noise(100'000, 1);
  const std::string text(200'000, 'x');
  const auto reader = layer({{"a", random}, {"d/same", random}, {"d/text", text}});
  const LayerReport report = report_layer(reader.index());
  EXPECT_EQ(report.digest, reader.index().digest());
  EXPECT_EQ(report.files, 3U);
  EXPECT_EQ(report.directories, 2U) << "the root and d";
  EXPECT_EQ(report.others, 1U);
  EXPECT_EQ(report.content_bytes, 400'000U);
  EXPECT_EQ(report.unique_bytes, 300'000U);
  EXPECT_EQ(report.chunks, 2U);
  EXPECT_EQ(report.compressed_chunks, 1U);
  EXPECT_GE(report.stored_bytes, 100'000U);
  EXPECT_LT(report.stored_bytes, 110'000U);
  EXPECT_GT(report.compression_ratio(), 2.7);
}

TEST_F(LayerReportTest, ALayerWithoutContentHasARatioOfOne) {
  EXPECT_EQ(report_layer(layer({}).index()).compression_ratio(), 1.0);
}

TEST_F(LayerReportTest, EqualContentOfOtherLayersIsShared) {
  const auto mine = layer({{"a", noise(100'000, 1)}, {"b", noise(50'000, 2)}, {"c", noise(30'000, 3)}});
  SharingSurvey survey(mine.index());
  const auto first = survey.compare(layer({{"x", noise(100'000, 1)}, {"other", noise(70'000, 9)}}).index());
  EXPECT_EQ(first.chunks, 1U);
  EXPECT_EQ(first.unique_bytes, 100'000U);
  EXPECT_EQ(first.same_place_bytes, 0U) << "stored twice: nothing was looked up";
  EXPECT_EQ(survey.compare(layer({{"y", noise(100'000, 1)}, {"z", noise(50'000, 2)}}).index()).unique_bytes, 150'000U);
  EXPECT_EQ(survey.compare(layer({{"q", noise(10, 77)}}).index()).chunks, 0U);
  EXPECT_EQ(survey.with_any().unique_bytes, 150'000U) << "each chunk once";
}

TEST_F(LayerReportTest, WhatIsReferredToIsStoredOnce) {
  const std::map<std::string, std::string> files{{"a", noise(900'000, 1)}, {"b", noise(900'000, 2)}};
  const auto first = layer(files, true);
  auto more = files;
  more["c"] = noise(900'000, 3);
  const auto second = layer(more, true);
  SharingSurvey survey(second.index());
  const auto shared = survey.compare(first.index());
  EXPECT_EQ(shared.chunks, 2U);
  EXPECT_EQ(shared.same_place_bytes, shared.stored_bytes);
  EXPECT_EQ(survey.with_any().same_place_bytes, shared.stored_bytes);
}

}  // namespace
}  // namespace hearth::image
