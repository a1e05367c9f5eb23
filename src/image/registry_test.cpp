// Images from a registry: a real skopeo against a registry of our own.
#include "base/process.hpp"
#include "base/random_id.hpp"
#include "image/import.hpp"
#include "image/testing/layout_writer.hpp"
#include "image/testing/tar_writer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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
