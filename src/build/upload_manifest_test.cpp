#include "build/upload_manifest.hpp"

#include "base/file.hpp"
#include "base/random_id.hpp"
#include "blob/object_store.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/stat.h>

namespace hearth::build {
namespace {

using testing::HasSubstr;

class UploadManifest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = std::filesystem::temp_directory_path() / ("hearth-upload-" + random_id());
    std::filesystem::create_directories(root_);
    store_ = *blob::open_store((root_ / "store").string(), blob::IfMissing::create);
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  std::string part(const std::string& bytes) {
    const std::string hex = Digest::of(bytes).hex();
    EXPECT_TRUE(store_->create("ws/default/uploads/" + hex, bytes));
    return hex;
  }

  std::filesystem::path root_;
  std::shared_ptr<blob::ObjectStore> store_;
};

TEST_F(UploadManifest, AFolderIsWrittenAsItWas) {
  const std::string json = R"([
    {"path":"pkg","type":"dir","mode":493,"mtime_ns":1600000000000000005},
    {"path":"pkg/a.py","type":"file","mode":448,"size":6,"mtime_ns":1600000000123456789,"parts":[")" +
                           part("abc") + "\",\"" + part("def") + R"("]},
    {"path":"link","type":"symlink","target":"pkg/a.py","mtime_ns":-1},
    {"path":"empty","type":"file","mode":420,"size":0,"mtime_ns":0,"parts":[]}])";
  auto manifest = parse_manifest(json);
  ASSERT_TRUE(manifest) << manifest.error().message;
  const auto folder = root_ / "folder";
  auto written = materialize(*store_, "default", *manifest, folder);
  ASSERT_TRUE(written) << written.error().message;
  EXPECT_EQ(*read_file(folder / "pkg/a.py"), "abcdef");
  EXPECT_EQ(std::filesystem::read_symlink(folder / "link"), "pkg/a.py");
  struct stat info{};
  ASSERT_EQ(::stat((folder / "pkg/a.py").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0755u);
  EXPECT_EQ(info.st_mtim.tv_sec, 1600000000);
  EXPECT_EQ(info.st_mtim.tv_nsec, 123456789);
  ASSERT_EQ(::stat((folder / "pkg").c_str(), &info), 0);
  EXPECT_EQ(info.st_mtim.tv_nsec, 5);
  ASSERT_EQ(::stat((folder / "empty").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0644u);
}

TEST_F(UploadManifest, HostilePathsAreRefused) {
  for (const char* path : {"../a", "/etc/passwd", "a/../../b", "a//b", "", ".", "a/"}) {
    const std::string json = std::string(R"([{"path":")") + path + R"(","type":"dir"}])";
    EXPECT_FALSE(parse_manifest(json)) << path;
  }
  EXPECT_THAT(parse_manifest(R"([{"path":"a","type":"symlink","target":"/etc"},
                                 {"path":"a/passwd","type":"file","size":0,"parts":[]}])")
                  .error()
                  .message,
              HasSubstr("below something that is no folder"));
  EXPECT_THAT(parse_manifest(R"([{"path":"a","type":"dir"},{"path":"a","type":"dir"}])").error().message,
              HasSubstr("named twice"));
  EXPECT_FALSE(parse_manifest(R"([{"path":"a","type":"fifo"}])"));
  EXPECT_FALSE(parse_manifest(R"([{"path":"a","type":"file","size":1,"parts":["../../keys/x"]}])"));
  EXPECT_FALSE(parse_manifest("{"));
}

TEST_F(UploadManifest, MissingAndDamagedPartsAreNamed) {
  const std::string hex = Digest::of("never sent").hex();
  auto missing = parse_manifest(R"([{"path":"a","type":"file","size":3,"parts":[")" + hex + "\"]}]");
  ASSERT_TRUE(missing);
  EXPECT_EQ(materialize(*store_, "default", *missing, root_ / "x").error().code, ErrorCode::not_found);
  ASSERT_TRUE(store_->create("ws/default/uploads/" + hex, "other"));
  EXPECT_EQ(materialize(*store_, "default", *missing, root_ / "y").error().code, ErrorCode::corrupt);
  EXPECT_EQ(materialize(*store_, "elsewhere", *missing, root_ / "z").error().code, ErrorCode::not_found);
  auto wrong_size = parse_manifest(R"([{"path":"a","type":"file","size":9,"parts":[")" + part("abc") + "\"]}]");
  EXPECT_EQ(materialize(*store_, "default", *wrong_size, root_ / "w").error().code, ErrorCode::invalid_argument);
}

TEST_F(UploadManifest, EntriesBelowAFolderAreRelativeToIt) {
  auto manifest = parse_manifest(R"([{"path":"w","type":"dir"},{"path":"w/a","type":"file","size":0,"parts":[]},
                                     {"path":"w.txt","type":"file","size":0,"parts":[]}])");
  ASSERT_TRUE(manifest);
  const Manifest below = entries_below(*manifest, "w/");
  ASSERT_EQ(below.size(), 1u);
  EXPECT_EQ(below[0].path, "a");
  EXPECT_EQ(entries_below(*manifest, "w/a").front().path, "a");
  EXPECT_NE(find_entry(*manifest, "w.txt"), nullptr);
  EXPECT_EQ(find_entry(*manifest, "w2"), nullptr);
}

}  // namespace
}  // namespace hearth::build
