#include "base/random_id.hpp"
#include "image/layer_builder.hpp"
#include "image/layer_reader.hpp"
#include "image/testing/tree_spec.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace hearth::image {
namespace {

using ::testing::HasSubstr;

class DirectoryWalkTest : public ::testing::Test {
 protected:
  void SetUp() override {
    base_ = std::filesystem::temp_directory_path() / ("hearth-walk-" + random_id());
    std::filesystem::create_directories(base_ / "store");
    std::filesystem::create_directories(base_ / "tree");
    store_ = blob::open_store((base_ / "store").string()).value();
  }
  void TearDown() override { std::filesystem::remove_all(base_); }

  void write(const std::string& path, std::string_view content) const {
    std::filesystem::create_directories((base_ / "tree" / path).parent_path());
    std::ofstream(base_ / "tree" / path, std::ios::binary) << content;
  }
  std::string at(const std::string& path) const { return (base_ / "tree" / path).string(); }
  Result<LayerSummary> build(const WalkOptions& walk = {}) const {
    return build_layer_from_directory(store_, StoreScope::workspace("w"), base_ / "tree", walk);
  }
  LayerReader open(const Digest& digest) const { return LayerReader::open(store_, "w", digest).value(); }

  std::filesystem::path base_;
  std::shared_ptr<blob::ObjectStore> store_;
};

TEST_F(DirectoryWalkTest, ALayerIsWhatTheDirectoryWas) {
  write("a/one.txt", "one");
  write("a/empty", "");
  write("z", std::string(3 * kChunkBytes + 17, 'z'));
  std::filesystem::create_symlink("../z", at("a/link"));
  ASSERT_EQ(::link(at("z").c_str(), at("a/again").c_str()), 0);
  ASSERT_EQ(::mkfifo(at("fifo").c_str(), 0600), 0);
  ASSERT_EQ(::chmod(at("a").c_str(), 01777), 0);
  ASSERT_EQ(::chmod(at("a/one.txt").c_str(), 04755), 0);
  const timespec times[2] = {{1, 2}, {-5, 123456789}};
  ASSERT_EQ(::utimensat(AT_FDCWD, at("a/one.txt").c_str(), times, 0), 0);
  if (::geteuid() == 0) {
    ASSERT_EQ(::mknod(at("zero").c_str(), S_IFCHR | 0666, makedev(1, 5)), 0);
    ASSERT_EQ(::lchown(at("a/link").c_str(), 1000, 2000), 0);
  }
  (void)::setxattr(at("z").c_str(), "user.note", "v\0w", 3, 0);

  const LayerSummary summary = build().value();
  const auto expected = testing::read_tree(base_ / "tree", testing::Holes::compare).value();
  const auto actual = testing::read_tree(open(summary.digest)).value();
  EXPECT_EQ(testing::difference(expected, actual), "");
  EXPECT_EQ(summary.entries, actual.size() - 1);
  EXPECT_EQ(summary.content_bytes, 3u * kChunkBytes + 17 + 3);
  EXPECT_EQ(summary.chunks, 3u) << "a chunk of three equal megabytes, the rest, and 'one'";
  EXPECT_LT(summary.stored_bytes, 1000u);
}

TEST_F(DirectoryWalkTest, EqualTreesHaveEqualDigestsHoweverTheyAreStored) {
  write("f", "content");
  write("g", "content");
  const auto first = build().value();
  std::filesystem::remove_all(base_ / "store/ws");
  const auto second = build_layer_from_directory(store_, StoreScope::shared(), base_ / "tree", {},
                                                 {.compression_level = 9, .workers = 1})
                          .value();
  EXPECT_EQ(first.digest, second.digest);
  EXPECT_TRUE(LayerReader::open(store_, "anybody", second.digest)) << "shared layers are everybody's";
  write("f", "Content");
  EXPECT_NE(build().value().digest, first.digest);
}

TEST_F(DirectoryWalkTest, HolesAreNotStored) {
  {
    const int fd = ::open(at("sparse").c_str(), O_CREAT | O_WRONLY, 0644);
    ASSERT_EQ(::pwrite(fd, "data", 4, 5 << 20), 4);
    ASSERT_EQ(::ftruncate(fd, 64 << 20), 0);
    ::close(fd);
  }
  const auto summary = build().value();
  EXPECT_LE(summary.content_bytes, 64u * 1024);
  const auto expected = testing::read_tree(base_ / "tree", testing::Holes::compare).value();
  EXPECT_EQ(testing::difference(expected, testing::read_tree(open(summary.digest)).value()), "");
}

TEST_F(DirectoryWalkTest, LeavesOutWhatIsExcluded) {
  write("keep/x", "1");
  write("tmp/y", "2");
  write("var/cache/z", "3");
  const auto tree = testing::read_tree(open(build({.exclude = {"tmp", "var/cache"}}).value().digest)).value();
  EXPECT_TRUE(tree.contains("keep/x"));
  EXPECT_TRUE(tree.contains("var"));
  EXPECT_FALSE(tree.contains("tmp"));
  EXPECT_FALSE(tree.contains("var/cache"));
}

TEST_F(DirectoryWalkTest, KeepsTheMarksOfAnOverlayUpperDirectory) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  write("dir/new", "n");
  ASSERT_EQ(::mknod(at("gone").c_str(), S_IFCHR, 0), 0);
  ASSERT_EQ(::link(at("gone").c_str(), at("dir/gone").c_str()), 0);
  if (::setxattr(at("dir").c_str(), "trusted.overlay.opaque", "y", 1, 0) != 0) GTEST_SKIP() << "no trusted xattrs here";
  ASSERT_EQ(::setxattr(at("dir/new").c_str(), "trusted.overlay.origin", "abc", 3, 0), 0);

  const auto tree = testing::read_tree(open(build({.marks = OverlayMarks::keep}).value().digest)).value();
  EXPECT_EQ(tree.at("gone").type, FileType::whiteout);
  EXPECT_EQ(tree.at("dir/gone").type, FileType::whiteout);
  EXPECT_EQ(tree.at("dir/gone").same_as, "dir/gone");
  EXPECT_TRUE(tree.at("dir").opaque);
  EXPECT_TRUE(tree.at("dir/new").xattrs.empty());

  const auto plain = testing::read_tree(open(build().value().digest)).value();
  EXPECT_EQ(plain.at("gone").type, FileType::character_device);
  EXPECT_FALSE(plain.at("dir").opaque);

  ASSERT_EQ(::setxattr(at("dir").c_str(), "trusted.overlay.redirect", "/other", 6, 0), 0);
  EXPECT_THAT(build({.marks = OverlayMarks::keep}).error().message, HasSubstr("redirect_dir=off"));
}

TEST_F(DirectoryWalkTest, ShiftsIdsBackToThoseOfTheImage) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  write("f", "x");
  ASSERT_EQ(::chown(at("").c_str(), 100000, 100000), 0);
  ASSERT_EQ(::chown(at("f").c_str(), 101000, 100005), 0);
  const WalkOptions walk{.id_base = 100000, .id_count = 65536};
  const auto tree = testing::read_tree(open(build(walk).value().digest)).value();
  EXPECT_EQ(tree.at("f").uid, 1000u);
  EXPECT_EQ(tree.at("f").gid, 5u);
  ASSERT_EQ(::chown(at("f").c_str(), 0, 0), 0);
  EXPECT_THAT(build(walk).error().message, HasSubstr("outside the range"));
}

TEST_F(DirectoryWalkTest, CountsStalePycFiles) {
  const auto pyc = [](uint32_t flags, uint32_t time, uint32_t size) {
    std::string bytes("\xa7\x0d\x0d\x0a", 4);
    for (const uint32_t value : {flags, time, size}) bytes.append(reinterpret_cast<const char*>(&value), 4);
    return bytes + "code";
  };
  for (const char* name : {"good", "time", "size", "hash"}) {
    write(std::string("pkg/") + name + ".py", "x = 1\n");
    const timespec times[2] = {{1700000000, 900000000}, {1700000000, 900000000}};
    ASSERT_EQ(::utimensat(AT_FDCWD, at(std::string("pkg/") + name + ".py").c_str(), times, 0), 0);
  }
  write("pkg/__pycache__/good.cpython-311.pyc", pyc(0, 1700000000, 6));
  write("pkg/__pycache__/good.cpython-311.opt-1.pyc", pyc(0, 1700000000, 6));
  write("pkg/__pycache__/time.cpython-311.pyc", pyc(0, 1700000001, 6));
  write("pkg/__pycache__/size.cpython-311.pyc", pyc(0, 1700000000, 7));
  write("pkg/__pycache__/hash.cpython-311.pyc", pyc(1, 5, 5));
  write("pkg/__pycache__/orphan.cpython-311.pyc", pyc(0, 5, 5));
  std::filesystem::create_symlink("../good.py", at("pkg/link.py"));
  write("pkg/__pycache__/link.cpython-311.pyc", pyc(0, 5, 5));
  EXPECT_EQ(build().value().stale_pyc, 2u);
}

TEST_F(DirectoryWalkTest, OneFileCanBeALayer) {
  write("weights.bin", std::string(kChunkBytes + 1, 'w'));
  const auto summary =
      build_layer_from_file(store_, StoreScope::workspace("w"), at("weights.bin"), "files/weights.bin").value();
  const auto tree = testing::read_tree(open(summary.digest)).value();
  EXPECT_EQ(tree.size(), 3u);
  EXPECT_EQ(tree.at("files/weights.bin").content.size(), kChunkBytes + 1);
  EXPECT_EQ(tree.at("files").mode, 0755);
  for (const char* bad : {"", "/x", "a//b", "../x"}) {
    EXPECT_EQ(build_layer_from_file(store_, StoreScope::workspace("w"), at("weights.bin"), bad).error().code,
              ErrorCode::invalid_argument);
  }
}

TEST_F(DirectoryWalkTest, ADamagedChunkIsNeverGivenOut) {
  write("f", "some content that is stored raw");
  const auto summary = build().value();
  const auto packs = store_->list("ws/w/packs/").value();
  ASSERT_EQ(packs.size(), 1u);
  const auto path = base_ / "store" / packs[0];
  std::string bytes = store_->get(packs[0]).value();
  bytes[3] ^= 1;
  std::ofstream(path, std::ios::binary) << bytes;
  const auto reader = open(summary.digest);
  EXPECT_EQ(reader.read_chunk(0).error().code, ErrorCode::corrupt);
  std::filesystem::remove(path);
  EXPECT_THAT(reader.read_chunk(0).error().message, HasSubstr("is missing"));
}

TEST_F(DirectoryWalkTest, ACancelledBuildLeavesNoLayer) {
  write("f", "x");
  std::stop_source stop;
  stop.request_stop();
  const auto result =
      build_layer_from_directory(store_, StoreScope::workspace("w"), base_ / "tree", {}, {.stop = stop.get_token()});
  EXPECT_EQ(result.error().code, ErrorCode::cancelled);
  EXPECT_TRUE(store_->list("ws/w/layers/").value().empty());
}

}  // namespace
}  // namespace hearth::image
