#include "build/uploaded_layout.hpp"

#include "base/file.hpp"
#include "base/random_id.hpp"
#include "blob/simulated_store.hpp"
#include "catalog/store_keys.hpp"
#include "image/import.hpp"
#include "image/testing/layout_writer.hpp"
#include "image/testing/tar_writer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

namespace hearth::build {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr size_t kPartBytes = 1000;

class UploadedLayoutTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("hearth-upload-" + random_id());
    std::string noise;
    for (int i = 0; i < 4000; ++i) noise += std::to_string(i * i);
    image::testing::TarWriter one;
    one.directory("d/").file("d/large", noise);
    image::testing::TarWriter two;
    two.file("small", "s");
    image::testing::write_layout(folder_, {.layers = {image::testing::gzip(one.finish()), two.finish()}});
    for (const auto& file : fs::recursive_directory_iterator(folder_)) {
      if (file.is_regular_file()) files_.push_back(upload(file.path()));
    }
    std::ranges::sort(files_, {}, &ManifestEntry::path);
  }
  void TearDown() override { fs::remove_all(folder_); }

  ManifestEntry upload(const fs::path& path) {
    ManifestEntry entry{.path = path.lexically_relative(folder_).string()};
    const std::string bytes = read_file(path).value();
    entry.size = bytes.size();
    for (size_t at = 0; at < bytes.size(); at += kPartBytes) {
      const std::string part = bytes.substr(at, kPartBytes);
      entry.parts.push_back(Digest::of(part));
      store_->objects()[catalog::upload_key("w", entry.parts.back().hex())] = part;
    }
    return entry;
  }
  ManifestEntry& largest() { return *std::ranges::max_element(files_, {}, &ManifestEntry::size); }

  Result<image::ImageRecord> import() {
    return image::import_image(store_, image::StoreScope::workspace("w"),
                               {.path = "name", .files = uploaded_layout(store_, "w", files_)});
  }

  void expect_refused(ErrorCode code, const std::string& why) {
    const auto record = import();
    ASSERT_FALSE(record);
    EXPECT_EQ(record.error().code, code) << record.error().message;
    EXPECT_THAT(record.error().message, HasSubstr(why));
  }

  fs::path folder_;
  std::shared_ptr<blob::SimulatedStore> store_ = std::make_shared<blob::SimulatedStore>();
  Manifest files_;
};

TEST_F(UploadedLayoutTest, IsImportedAsTheDirectoryWouldBe) {
  const auto record = import();
  ASSERT_TRUE(record) << record.error().message;
  const auto expected = image::import_image(store_, image::StoreScope::workspace("other"), {.path = folder_}).value();
  EXPECT_EQ(record->layer.digest, expected.layer.digest);
  EXPECT_EQ(record->manifest, expected.manifest);
}

TEST_F(UploadedLayoutTest, AMissingPartOfAnyFileIsToBeSentAgain) {
  for (ManifestEntry& entry : files_) {
    const std::string key = catalog::upload_key("w", entry.parts.back().hex());
    const std::string bytes = store_->objects().at(key);
    store_->objects().erase(key);
    expect_refused(ErrorCode::not_found, "of " + entry.path + " was not uploaded");
    store_->objects()[key] = bytes;
  }
  EXPECT_TRUE(import());
}

TEST_F(UploadedLayoutTest, PartsThatDoNotMakeTheFileAreRefused) {
  ManifestEntry& entry = largest();
  const auto parts = entry.parts;
  ASSERT_GT(parts.size(), 3u);
  entry.parts.pop_back();
  expect_refused(ErrorCode::corrupt, "shorter than it should be");
  entry.parts = parts;
  entry.parts.push_back(parts.front());
  expect_refused(ErrorCode::corrupt, "");
  entry.parts = parts;
  std::swap(entry.parts.front(), entry.parts.back());
  expect_refused(ErrorCode::corrupt, "");
  entry.parts = parts;
  EXPECT_TRUE(import());
}

TEST_F(UploadedLayoutTest, DamageInTheStoreIsFoundInEveryFile) {
  for (const ManifestEntry& entry : files_) {
    for (const Digest& part : entry.parts) {
      std::string& bytes = store_->objects().at(catalog::upload_key("w", part.hex()));
      bytes[bytes.size() / 2] ^= 1;
      expect_refused(ErrorCode::corrupt, "");
      bytes[bytes.size() / 2] ^= 1;
    }
  }
  EXPECT_TRUE(import());
}

TEST_F(UploadedLayoutTest, WhatIsNoLayoutIsRefused) {
  for (ManifestEntry& entry : files_) {
    if (entry.path == "index.json") entry.type = EntryType::symlink;
  }
  expect_refused(ErrorCode::corrupt, "is no regular file");
  std::erase_if(files_, [](const ManifestEntry& entry) { return entry.path == "index.json"; });
  expect_refused(ErrorCode::invalid_argument, "it has no file 'index.json'");
  files_.clear();
  expect_refused(ErrorCode::invalid_argument, "it has no file 'oci-layout'");
}

}  // namespace
}  // namespace hearth::build
