#include "client/folder.hpp"

#include "base/file.hpp"
#include "base/random_id.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <sys/stat.h>

namespace hearth::client {
namespace {

namespace fs = std::filesystem;

class FolderTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(make_directories(dir_)); }
  void TearDown() override { fs::remove_all(dir_); }
  void put(const std::string& path, const std::string& content) {
    fs::create_directories((dir_ / path).parent_path());
    ASSERT_TRUE(write_file_atomic(dir_ / path, content));
  }
  std::vector<std::string> paths() {
    std::vector<std::string> out;
    const auto entries = scan_folder(dir_, [](uint64_t) {});
    for (const auto& entry : entries.value()) out.push_back(entry.path);
    return out;
  }
  fs::path dir_ = fs::temp_directory_path() / ("hearth-folder-" + random_id());
};

TEST_F(FolderTest, ListsFilesFoldersAndLinksSorted) {
  put("model.py", "x");
  put("files/w.bin", "weights");
  fs::create_symlink("model.py", dir_ / "alias.py");
  EXPECT_EQ(paths(), (std::vector<std::string>{"alias.py", "files", "files/w.bin", "model.py"}));
}

TEST_F(FolderTest, LeavesOutWhatNobodyDeploysAndWhatHearthignoreNames) {
  for (const char* path :
       {"a.py", ".git/HEAD", "__pycache__/a.pyc", "venv/x", "sub/.venv/y", "notes.tmp", "data/big"}) {
    put(path, "x");
  }
  put(".hearthignore", "# mine\n*.tmp\n/data\n.hearthignore\n");
  EXPECT_EQ(paths(), (std::vector<std::string>{"a.py", "sub"}));
}

TEST_F(FolderTest, CutsFilesIntoPartsNamedByTheirDigest) {
  const std::string content = std::string(kPartBytesMax, 'a') + "tail";
  put("big", content);
  put("empty", "");
  const auto entries = scan_folder(dir_, [](uint64_t) {}).value();
  ASSERT_EQ(entries[0].parts.size(), 2U);
  EXPECT_EQ(entries[0].parts[1], Digest::of("tail"));
  EXPECT_EQ(entries[0].size, content.size());
  EXPECT_TRUE(entries[1].parts.empty());
}

TEST_F(FolderTest, SmallFilesAreFoundWithoutTheLargeOnes) {
  put("index.json", "small");
  put("blobs/manifest", "123456789 ");
  fs::create_symlink("blobs/manifest", dir_ / "link");
  EXPECT_FALSE(scan_small_files(dir_, 10).value()) << "there are no others";
  put("blobs/layer", "123456789 1");
  const auto small = scan_small_files(dir_, 10).value();
  ASSERT_TRUE(small);
  std::vector<std::string> found;
  for (const FolderEntry& entry : *small) found.push_back(entry.path);
  EXPECT_EQ(found, (std::vector<std::string>{"blobs", "blobs/manifest", "index.json", "link"}));
  EXPECT_EQ((*small)[1].parts, std::vector{Digest::of("123456789 ")});
  EXPECT_EQ(scan_small_files(dir_ / "index.json", 10).error().code, ErrorCode::invalid_argument);
}

TEST_F(FolderTest, RefusesAPipe) {
  ASSERT_EQ(::mkfifo((dir_ / "pipe").c_str(), 0600), 0);
  EXPECT_EQ(scan_folder(dir_, [](uint64_t) {}).error().code, ErrorCode::invalid_argument);
}

TEST_F(FolderTest, TheManifestIsTheApisFilesArray) {
  put("a", "x");
  const auto json = nlohmann::json::parse(manifest_json(scan_folder(dir_, [](uint64_t) {}).value()));
  ASSERT_EQ(json.size(), 1U);
  EXPECT_EQ(json[0]["path"], "a");
  EXPECT_EQ(json[0]["type"], "file");
  EXPECT_EQ(json[0]["parts"][0], Digest::of("x").hex());
}

}  // namespace
}  // namespace hearth::client
