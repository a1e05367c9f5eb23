// Images from a registry: a real skopeo against a registry of our own.
#include "base/file.hpp"
#include "base/process.hpp"
#include "base/random_id.hpp"
#include "blob/intent.hpp"
#include "image/import.hpp"
#include "image/testing/layout_writer.hpp"
#include "image/testing/tar_writer.hpp"
#include "oci/image_archive.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <thread>

namespace hearth::image {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class RegistryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!find_program("skopeo") || !find_program("python3")) GTEST_SKIP() << "needs skopeo and python3";
    base_ = std::filesystem::temp_directory_path() / ("hearth-registry-" + random_id());
    store_ = blob::open_store((base_ / "store").string(), blob::IfMissing::create).value();
    testing::write_layout(base_ / "layout",
                          {.layers = {testing::gzip(testing::TarWriter().file("f", "x").finish())}, .tag = "1.0"});
  }
  void TearDown() override {
    if (!base_.empty()) std::ofstream(base_ / "layout/stop") << "now";
    if (server_.joinable()) server_.join();
    std::error_code ignored;
    std::filesystem::remove_all(base_, ignored);
  }

  /// Starts the registry and returns "127.0.0.1:PORT".
  std::string serve(std::vector<std::string> more = {}) {
    ProcessOptions options{
        .args = {"python3", HEARTH_SOURCE_DIR "/tests/fakes/registry.py", (base_ / "layout").string()}};
    options.args.insert(options.args.end(), more.begin(), more.end());
    options.deadline = Deadline::after(mono_now(), seconds(60));
    options.on_output = [this](std::string_view text) {
      const std::lock_guard lock(mutex_);
      output_ += text;
      changed_.notify_all();
    };
    server_ = std::thread([options] { (void)run_process(options); });
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, seconds(30), [this] { return output_.contains('\n'); });
    return "127.0.0.1:" + output_.substr(5, output_.find('\n') - 5);
  }
  Result<ImageRecord> import(const std::string& reference, const std::filesystem::path& auth_file = {}) {
    ImportOptions options;
    options.progress = [this](const ImportProgress& progress) { said_ += progress.message; };
    return import_image(store_, StoreScope::workspace("w"),
                        {.kind = SourceKind::registry, .reference = reference, .auth_file = auth_file}, options);
  }

  std::shared_ptr<blob::Intent> intent() const {
    return blob::Intent::begin(store_, {.workspace = "w", .owner = "test"}).value();
  }
  /// As a node does it: what was imported before is looked up.
  Result<ImageRecord> import_held(const std::string& reference) const {
    return import_image(store_, StoreScope::workspace("w"), {.kind = SourceKind::registry, .reference = reference},
                        {.intent = intent()});
  }
  /// Takes from the registry whatever else could be fetched.
  void leave_only(const std::string& hex) const {
    for (const auto& file : std::filesystem::directory_iterator(base_ / "layout/blobs/sha256")) {
      if (file.path().filename() != hex) std::filesystem::remove(file.path());
    }
  }
  /// A list that holds image 1.0, under another tag; returns its hex digest.
  std::string add_list(const std::string& tag) const {
    const auto path = base_ / "layout/index.json";
    auto index = nlohmann::json::parse(read_file(path).value());
    nlohmann::json image = index["manifests"][0];
    image.erase("annotations");
    image["platform"] = {{"os", "linux"}, {"architecture", oci::machine_architecture()}};
    const std::string type = "application/vnd.oci.image.index.v1+json";
    const nlohmann::json list = {{"schemaVersion", 2}, {"mediaType", type}, {"manifests", {image}}};
    const std::string hex = testing::write_blob(base_ / "layout", list.dump());
    index["manifests"].push_back({{"mediaType", type},
                                  {"digest", "sha256:" + hex},
                                  {"size", list.dump().size()},
                                  {"annotations", {{"org.opencontainers.image.ref.name", tag}}}});
    std::ofstream(path) << index.dump();
    return hex;
  }

  std::filesystem::path base_;
  std::shared_ptr<blob::ObjectStore> store_;
  std::thread server_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string output_;
  std::string said_;
};

TEST_F(RegistryTest, AnImageIsFetchedAndImported) {
  const std::string host = serve();
  const auto record = import(host + "/team/app:1.0");
  ASSERT_TRUE(record) << record.error().message;
  EXPECT_EQ(record->layer.entries, 1u);
  EXPECT_EQ(record->source, "docker://" + host + "/team/app:1.0");
  EXPECT_EQ(import(host + "/team/app:2.0").error().code, ErrorCode::not_found);
}

TEST_F(RegistryTest, AnImageThatWasImportedBeforeIsNotFetched) {
  const std::string host = serve();
  const auto first = import_held(host + "/team/app:1.0");
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_EQ(first->source, "docker://" + host + "/team/app:1.0");
  leave_only(first->manifest.hex());
  const auto again = import_held(host + "/other/name:1.0");
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->layer.digest, first->layer.digest);
  EXPECT_EQ(again->layer.new_bytes, 0u);
  EXPECT_EQ(again->source, "docker://" + host + "/other/name:1.0");
}

TEST_F(RegistryTest, ATagThatMovedIsNoticed) {
  const std::string host = serve();
  const auto first = import_held(host + "/team/app:1.0").value();
  testing::write_layout(base_ / "layout",
                        {.layers = {testing::gzip(testing::TarWriter().file("g", "y").finish())}, .tag = "1.0"});
  const auto moved = import_held(host + "/team/app:1.0");
  ASSERT_TRUE(moved) << moved.error().message;
  EXPECT_NE(moved->layer.digest, first.layer.digest);
  EXPECT_NE(moved->manifest, first.manifest);
}

TEST_F(RegistryTest, AReferenceWithADigestAsksNobodyForWhatIsKnown) {
  const std::string host = serve();
  const auto first = import_held(host + "/team/app:1.0").value();
  const auto again = import_held("127.0.0.1:1/team/app@" + first.manifest.to_string());
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->layer.digest, first.layer.digest);
  const auto other = import_held("127.0.0.1:1/team/app@" + Digest::of("other").to_string());
  EXPECT_EQ(other.error().code, ErrorCode::unavailable);
  EXPECT_EQ(import_held(host + "/team/app@sha256:no").error().code, ErrorCode::invalid_argument);
}

TEST_F(RegistryTest, WhatIsGoneSinceIsFetchedAgain) {
  const std::string host = serve();
  const auto first = import_held(host + "/team/app:1.0").value();
  for (const char* part : {"ws/w/packs/", "ws/w/layers/"}) {
    const auto keys = store_->list(part).value();
    ASSERT_FALSE(keys.empty());
    ASSERT_TRUE(store_->remove(keys[0]));
    const auto again = import_held(host + "/team/app:1.0");
    ASSERT_TRUE(again) << again.error().message;
    EXPECT_EQ(again->layer.digest, first.layer.digest);
    EXPECT_EQ(store_->list(part).value(), keys);
  }
  leave_only(first.manifest.hex());
  EXPECT_TRUE(import_held(host + "/team/app:1.0")) << "and remembered again";
}

TEST_F(RegistryTest, AListOfManifestsIsKnownAsItsImageIs) {
  const std::string host = serve();
  const std::string list = add_list("multi");
  // Known by its manifest alone: the list is found out about once.
  const auto alone =
      import_image(store_, StoreScope::workspace("w"), {.path = base_ / "layout", .tag = "1.0"}, {.intent = intent()})
          .value();
  const auto first = import_held(host + "/team/app:multi");
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_EQ(first->layer.digest, alone.layer.digest);
  leave_only(list);
  const auto again = import_held(host + "/team/app:multi");
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->layer.digest, first->layer.digest);
  EXPECT_EQ(again->manifest, first->manifest);
}

TEST_F(RegistryTest, CredentialsComeFromAFileAndAppearNowhere) {
  const std::string host = serve({"--user", "someone", "--password", "verysecret"});
  std::ofstream(base_ / "none.json") << "{}";
  const auto denied = import(host + "/team/app:1.0", base_ / "none.json");
  EXPECT_EQ(denied.error().code, ErrorCode::denied) << denied.error().message;
  EXPECT_THAT(denied.error().message, HasSubstr("skopeo login"));

  const auto auth = base_ / "auth.json";
  std::ofstream(auth) << R"({"auths":{")" + host + R"(":{"auth":"c29tZW9uZTp2ZXJ5c2VjcmV0"}}})";
  const auto record = import(host + "/team/app:1.0", auth);
  ASSERT_TRUE(record) << record.error().message;
  for (const std::string& text : {said_, to_json(*record)}) {
    EXPECT_THAT(text, Not(HasSubstr("verysecret")));
    EXPECT_THAT(text, Not(HasSubstr("c29tZW9uZ")));
  }
}

}  // namespace
}  // namespace hearth::image
