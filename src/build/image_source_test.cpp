// Images that were uploaded, as a build step imports them: what is read of them, and what is said when it cannot be.
#include "base/file.hpp"
#include "base/random_id.hpp"
#include "blob/simulated_store.hpp"
#include "build/build_steps.hpp"
#include "catalog/store_keys.hpp"
#include "image/testing/layout_writer.hpp"
#include "image/testing/tar_writer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fcntl.h>

#include <algorithm>
#include <filesystem>

namespace hearth::build {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class ImageSourceTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("hearth-source-" + random_id());
    fs::create_directories(folder_ / "empty");
    config_.store = store_;
    // Simulated: nothing is mounted, and no interpreter is found.
    config_.mount_layer = [this](const std::string&, const Digest&) { return open_file(folder_ / "empty", O_RDONLY); };
  }
  void TearDown() override { fs::remove_all(folder_); }

  /// Every file below the folder in one part.
  Manifest upload(const fs::path& folder) const {
    Manifest files;
    for (const auto& file : fs::recursive_directory_iterator(folder)) {
      if (!file.is_regular_file()) continue;
      const std::string bytes = read_file(file.path()).value();
      store_->objects()[catalog::upload_key("w", Digest::of(bytes).hex())] = bytes;
      files.push_back({.path = file.path().lexically_relative(folder).string(),
                       .size = bytes.size(),
                       .parts = {Digest::of(bytes)}});
    }
    std::ranges::sort(files, {}, &ManifestEntry::path);
    return files;
  }
  Manifest layout() const {
    image::testing::write_layout(folder_ / "layout",
                                 {.layers = {image::testing::TarWriter().file("f", "x").finish()}, .tag = "1.0"});
    return upload(folder_ / "layout");
  }
  Manifest archive() const {
    fs::create_directories(folder_ / "archive");
    const std::string bytes =
        image::testing::make_docker_archive({.layers = {image::testing::TarWriter().file("f", "x").finish()}});
    EXPECT_TRUE(write_file_atomic(folder_ / "archive/image.tar", bytes));
    return upload(folder_ / "archive");
  }
  static std::string largest_part(const Manifest& files) {
    const ManifestEntry& largest = *std::ranges::max_element(files, {}, &ManifestEntry::size);
    return catalog::upload_key("w", largest.parts.front().hex());
  }

  Result<catalog::ImageRecord> import(image::ImportSource source, const Manifest& files = {}) {
    const ProgressSink quiet = [](const Progress&) {};
    work_ = folder_ / ("work-" + random_id());
    fs::create_directories(work_);
    TRY(auto intent, blob::Intent::begin(store_, {.workspace = "w", .owner = "test"}));
    const StepContext context{config_, quiet, {}, work_, "w", std::move(intent), nullptr};
    if (!files.empty()) TRY_VOID(use_upload(context, files, source));
    return import_source(context, source);
  }

  const std::shared_ptr<blob::SimulatedStore> store_ = std::make_shared<blob::SimulatedStore>();
  BuilderConfig config_;
  fs::path folder_;
  fs::path work_;  // of the last import
};

const image::ImportSource kLayout{.kind = image::SourceKind::oci_layout, .path = "name", .tag = "1.0"};
const image::ImportSource kArchive{.kind = image::SourceKind::docker_archive};

TEST_F(ImageSourceTest, AnUploadedLayoutIsNotPutTogetherOnDisk) {
  const auto imported = import(kLayout, layout());
  ASSERT_TRUE(imported) << imported.error().message;
  EXPECT_EQ(imported->source, "oci:name:1.0");
  EXPECT_TRUE(fs::is_empty(work_));
}

TEST_F(ImageSourceTest, ALayoutThatIsKnownIsNotReadAgain) {
  const Manifest files = layout();
  const auto first = import(kLayout, files);
  ASSERT_TRUE(first) << first.error().message;
  store_->objects().erase(largest_part(files));
  const auto again = import(kLayout, files);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->layer, first->layer);
  EXPECT_EQ(again->identity, first->identity);
}

TEST_F(ImageSourceTest, LayersOfALayoutThatIsKnownMayBeLeftOut) {
  const Manifest all = layout();
  Manifest documents = all;
  documents.erase(std::ranges::max_element(documents, {}, &ManifestEntry::size));
  const auto incomplete = import(kLayout, documents);
  ASSERT_FALSE(incomplete);
  EXPECT_EQ(incomplete.error().code, ErrorCode::corrupt);
  EXPECT_THAT(incomplete.error().message, HasSubstr("the image is incomplete"));
  const auto first = import(kLayout, all);
  ASSERT_TRUE(first) << first.error().message;
  const auto again = import(kLayout, documents);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->layer, first->layer);
}

TEST_F(ImageSourceTest, AnArchiveIsTheSameImageAsItsLayout) {
  const auto from_archive = import(kArchive, archive());
  ASSERT_TRUE(from_archive) << from_archive.error().message;
  EXPECT_EQ(from_archive->layer, import(kLayout, layout())->layer);
}

TEST_F(ImageSourceTest, OnlyPartsThatAreGoneAreNotFound) {
  for (const auto& [source, files] : {std::pair(kLayout, layout()), std::pair(kArchive, archive())}) {
    const std::string part = largest_part(files);
    const std::string bytes = store_->objects().at(part);
    store_->objects().erase(part);
    const auto gone = import(source, files);
    ASSERT_FALSE(gone);
    EXPECT_EQ(gone.error().code, ErrorCode::not_found) << "so that the client sends them again";
    store_->objects()[part] = bytes;
    EXPECT_TRUE(import(source, files));
  }
  auto wrong_tag = kLayout;
  wrong_tag.tag = "2.0";
  EXPECT_EQ(import(wrong_tag, layout()).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(import(kLayout, archive()).error().code, ErrorCode::invalid_argument) << "that is no layout";
}

}  // namespace
}  // namespace hearth::build
