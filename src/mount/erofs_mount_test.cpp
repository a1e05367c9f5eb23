// EROFS images of what no archive says, seen through the kernel; and the mount itself.
#include "mount/erofs_mount.hpp"

#include "base/file.hpp"
#include "image/erofs_image.hpp"
#include "image/file_tree.hpp"
#include "mount/testing/mounted_tree.hpp"
#include "mount/testing/prefilled_erofs.hpp"
#include "mount/testing/test_store.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <vector>

namespace hearth::mount {

namespace {

namespace fs = std::filesystem;
using image::FileTree;
using image::FileType;
using image::kRootInode;
using image::Xattr;
using testing::TestStore;

class ErofsMount : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!testing::erofs_is_mountable()) GTEST_SKIP() << "needs root and a kernel that mounts EROFS images from files";
  }

  Result<UniqueFd> mount(const Digest& layer) {
    return testing::PrefilledErofs(store.folder() / "imagefs", store.store())
        .mount_layer({.workspace = TestStore::kWorkspace, .digest = layer}, [](const LayerProgress&) {});
  }

  /// How the mount of a layer differs from the layer.
  std::string difference(const FileTree& tree) {
    const Digest layer = store.add_layer(tree);
    const auto mounted = mount(layer);
    if (!mounted) return mounted.error().message;
    const auto expected = image::testing::read_tree(store.open(layer));
    if (!expected) return expected.error().message;
    const auto text = testing::difference_of_mount(testing::as_mounted(*expected), mounted->get());
    return text ? *text : text.error().message;
  }

  TestStore store;
};

FileTree::Inode empty_file() {
  return {.type = FileType::regular, .attributes = {.mode = 0644}};
}

TEST_F(ErofsMount, NamesBeforeAndBetweenTheDotsAreFound) {
  FileTree tree;
  const auto dir = tree.add({.type = FileType::directory});
  tree.link(kRootInode, "d", dir);
  for (const char* name : {"\x01", "!", "+x", "-", ".\x01", ".-", "...", "..a", ".a", "0", "\xff"})
    tree.link(dir, name, tree.add(empty_file()));
  EXPECT_EQ(difference(tree), "");
}

TEST_F(ErofsMount, WhatStackedLayersHideIsSpelledAsOverlayfsReadsIt) {
  FileTree tree;
  const auto dir = tree.add({.type = FileType::directory, .opaque = true, .attributes = {.mode = 01777}});
  tree.link(kRootInode, "opaque", dir);
  tree.link(dir, "gone", tree.add({.type = FileType::whiteout, .attributes = {.mode = 0}}));
  tree.link(kRootInode, "null", tree.add({.type = FileType::character_device, .attributes = {.mode = 0}}));
  EXPECT_EQ(difference(tree), "");
}

TEST_F(ErofsMount, WhatALayerHidesIsHiddenWhenItIsStacked) {
  FileTree lower;
  const auto lower_dir = lower.add({.type = FileType::directory});
  lower.link(kRootInode, "d", lower_dir);
  lower.link(lower_dir, "old", lower.add(empty_file()));
  lower.link(kRootInode, "gone", lower.add(empty_file()));
  lower.link(kRootInode, "stays", lower.add(empty_file()));
  FileTree upper;
  const auto upper_dir = upper.add({.type = FileType::directory, .opaque = true});
  upper.link(kRootInode, "d", upper_dir);
  upper.link(upper_dir, "new", upper.add(empty_file()));
  upper.link(kRootInode, "gone", upper.add({.type = FileType::whiteout, .attributes = {.mode = 0}}));

  std::string layers;
  for (const FileTree* tree : {&upper, &lower}) {
    const auto mounted = mount(store.add_layer(*tree));
    ASSERT_TRUE(mounted) << mounted.error().message;
    const fs::path at = store.folder() / (tree == &upper ? "upper" : "lower");
    fs::create_directories(at);
    ASSERT_EQ(::move_mount(mounted->get(), "", AT_FDCWD, at.c_str(), MOVE_MOUNT_F_EMPTY_PATH), 0);
    layers += (layers.empty() ? "lowerdir=" : ":") + at.string();
  }
  const fs::path stack = store.folder() / "stack";
  fs::create_directories(stack);
  ASSERT_EQ(::mount("overlay", stack.c_str(), "overlay", MS_RDONLY, layers.c_str()), 0) << errno;
  std::vector<std::string> names;
  for (const auto& entry : fs::recursive_directory_iterator(stack))
    names.push_back(fs::relative(entry.path(), stack).string());
  for (const char* name : {"stack", "upper", "lower"}) ::umount2((store.folder() / name).c_str(), MNT_DETACH);
  EXPECT_THAT(names, ::testing::UnorderedElementsAre("d", "d/new", "stays"));
}

TEST_F(ErofsMount, ExtremesOfEveryFieldComeBack) {
  FileTree tree;
  const auto put = [&tree](const char* name, FileTree::Inode inode) {
    tree.link(kRootInode, name, tree.add(std::move(inode)));
  };
  constexpr int64_t kFarPast = -8'000'000'000'000;
  constexpr int64_t kFarFuture = 8'000'000'000'000;
  put("past", {.attributes = {.mode = 07777, .mtime = {kFarPast, 999'999'999}}});
  put("future", {.attributes = {.mode = 0, .mtime = {kFarFuture, 1}}});
  put("owner", {.attributes = {.uid = oci::kMaxId, .gid = oci::kMaxId}});
  put("device", {.type = FileType::block_device,
                 .attributes = {.mode = 0660},
                 .device = {oci::kMaxDeviceMajor, oci::kMaxDeviceMinor}});
  put("socket", {.type = FileType::socket, .attributes = {.mode = 0711}});
  put("link", {.type = FileType::symlink, .attributes = {.mode = 0777}, .target = std::string(4095, 'l')});
  put("inline-link", {.type = FileType::symlink, .attributes = {.mode = 0777}, .target = std::string(4032, 'l')});
  put(std::string(255, 'n').c_str(), empty_file());
  EXPECT_EQ(difference(tree), "");
}

TEST_F(ErofsMount, HolesOfEverySizeReadAsZeros) {
  FileTree tree;
  for (const uint64_t size : {uint64_t{1}, uint64_t{4097}, uint64_t{40} << 20, uint64_t{8} << 40}) {
    auto file = empty_file();
    file.size = size;
    tree.link(kRootInode, std::to_string(size), tree.add(std::move(file)));
  }
  const Digest layer = store.add_layer(tree);
  const auto mounted = mount(layer);
  ASSERT_TRUE(mounted) << mounted.error().message;
  const UniqueFd largest(::openat(mounted->get(), std::to_string(uint64_t{8} << 40).c_str(), O_RDONLY | O_CLOEXEC));
  std::string bytes(9000, 'x');
  EXPECT_EQ(::pread(largest.get(), bytes.data(), bytes.size(), (off_t{8} << 40) - 8999), 8999);
  bytes.resize(8999);
  EXPECT_EQ(bytes.find_first_not_of('\0'), std::string::npos);
  EXPECT_EQ(::lseek(largest.get(), 0, SEEK_HOLE), 0);
  EXPECT_LT(::lseek(largest.get(), 0, SEEK_DATA), 0);
}

TEST_F(ErofsMount, XattrsComeBackWhereverTheyAreStored) {
  const std::string acl(
      "\x02\x00\x00\x00\x01\x00\x06\x00\xff\xff\xff\xff\x04\x00\x04\x00\xff\xff\xff\xff"
      "\x20\x00\x04\x00\xff\xff\xff\xff",
      28);
  const std::vector<Xattr> repeated{
      {"security.capability", std::string("\x01\x00\x00\x02\x00\x04", 6) + std::string(14, '\0')},
      {"user.note", std::string(3000, 'n')}};
  FileTree tree;
  for (int i = 0; i < 20; ++i) {
    auto file = empty_file();
    file.attributes.xattrs = repeated;
    file.attributes.xattrs.push_back({"user.own", std::string(static_cast<size_t>(i) * 997, 'o')});
    tree.link(kRootInode, "f" + std::to_string(i), tree.add(std::move(file)));
  }
  tree.link(
      kRootInode, "d",
      tree.add({.type = FileType::directory,
                .attributes = {.mode = 0754,
                               .xattrs = {{"system.posix_acl_access", acl}, {"system.posix_acl_default", acl}}}}));
  auto large = empty_file();
  large.attributes.xattrs = {
      {"trusted.large", std::string(65'535, 't')}, {"user.empty", ""}, {"user.large", std::string(65'535, 'u')}};
  tree.link(kRootInode, "large", tree.add(std::move(large)));
  // Too many xattrs for a link to stay in one block with its target.
  FileTree::Inode link{.type = FileType::symlink, .attributes = {.mode = 0777}, .target = "somewhere"};
  link.attributes.xattrs = {{"trusted.l", std::string(5000, 'l')}};
  tree.link(kRootInode, "link", tree.add(std::move(link)));
  EXPECT_EQ(difference(tree), "");
}

TEST_F(ErofsMount, ADirectoryOfAMillionNames) {
  constexpr uint32_t kNames = 1'000'000;
  FileTree tree;
  const auto file = tree.add(empty_file());
  for (uint32_t i = 0; i < kNames; ++i) tree.link(kRootInode, std::to_string(i), file);
  const auto mounted = mount(store.add_layer(tree));
  ASSERT_TRUE(mounted) << mounted.error().message;
  struct stat status{};
  for (const uint32_t i : {0U, 1U, 499'999U, 999'999U}) {
    ASSERT_EQ(::fstatat(mounted->get(), std::to_string(i).c_str(), &status, 0), 0) << i;
    EXPECT_EQ(status.st_nlink, kNames);
  }
  EXPECT_NE(::fstatat(mounted->get(), "1000000", &status, 0), 0);
  std::vector<bool> seen(kNames);
  for (const auto& entry : fs::directory_iterator("/proc/self/fd/" + std::to_string(mounted->get())))
    seen.at(std::stoul(entry.path().filename().string())) = true;
  EXPECT_EQ(std::count(seen.begin(), seen.end(), true), kNames);
}

// ---- The mount -----------------------------------------------------------------------------------------------

TEST_F(ErofsMount, IsReadOnly) {
  const auto mounted = mount(store.add_layer(FileTree()));
  ASSERT_TRUE(mounted) << mounted.error().message;
  EXPECT_LT(::openat(mounted->get(), "new", O_CREAT | O_WRONLY | O_CLOEXEC, 0600), 0);
  EXPECT_EQ(errno, EROFS);
}

TEST_F(ErofsMount, ReadAheadIsOfThisMountAlone) {
  const auto first = mount(store.add_layer(FileTree()));
  ASSERT_TRUE(first) << first.error().message;
  FileTree other;
  other.link(kRootInode, "f", other.add(empty_file()));
  const auto second = mount(store.add_layer(other));
  ASSERT_TRUE(second) << second.error().message;
  constexpr int kOdd = 1236;  // nobody else uses it
  const auto changed = set_erofs_read_ahead(second->get(), kOdd);
  ASSERT_TRUE(changed) << changed.error().message;
  int with_it = 0;
  for (const auto& device : fs::directory_iterator("/sys/class/bdi")) {
    int kib = 0;
    std::ifstream(device.path() / "read_ahead_kb") >> kib;
    with_it += kib == kOdd ? 1 : 0;
  }
  EXPECT_EQ(with_it, 1);
}

TEST_F(ErofsMount, AnotherFileSystemHasNoReadAheadOfErofs) {
  const UniqueFd root(::open("/", O_PATH | O_CLOEXEC));
  EXPECT_EQ(set_erofs_read_ahead(root.get(), 512).error().code, ErrorCode::unavailable);
}

TEST_F(ErofsMount, AnotherFileSystemHasNoDirectReadsOfErofs) {
  const UniqueFd folder(::open(store.folder().c_str(), O_PATH | O_CLOEXEC));
  EXPECT_FALSE(set_erofs_direct_reads(folder.get(), true));
}

TEST_F(ErofsMount, NonsenseAndMissingDevicesAreRefused) {
  const auto path = store.folder() / "nonsense";
  ASSERT_TRUE(write_file_atomic(path, std::string(8192, 'x')));
  const auto nonsense = open_file(path, O_RDONLY).value();
  EXPECT_EQ(mount_erofs(nonsense.get(), {}).error().code, ErrorCode::invalid_argument);

  const Digest layer = store.add_layer(FileTree());
  ASSERT_TRUE(mount(layer));
  const auto image = open_file(store.folder() / "imagefs" / (layer.hex() + ".image"), O_RDONLY).value();
  const int devices[] = {nonsense.get()};
  EXPECT_EQ(mount_erofs(image.get(), devices).error().code, ErrorCode::invalid_argument);
}

TEST_F(ErofsMount, TheMountTableNamesTheImage) {
  const Digest layer = store.add_layer(FileTree());
  const auto mounted = mount(layer);
  ASSERT_TRUE(mounted) << mounted.error().message;
  const fs::path at = store.folder() / "at";
  fs::create_directories(at);
  ASSERT_EQ(::move_mount(mounted->get(), "", AT_FDCWD, at.c_str(), MOVE_MOUNT_F_EMPTY_PATH), 0);
  const std::string table = read_file("/proc/self/mountinfo").value();
  ::umount2(at.c_str(), MNT_DETACH);
  EXPECT_THAT(table, ::testing::HasSubstr((store.folder() / "imagefs" / (layer.hex() + ".image")).string()));
}

}  // namespace

}  // namespace hearth::mount
