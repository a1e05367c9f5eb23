#include "container/layer_stack.hpp"

#include "container/jail_fixture.hpp"
#include "container/mounter_identity.hpp"

#include <gmock/gmock.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

namespace hearth::container {

namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

struct Ids {
  uint32_t uid;
  uint32_t gid;
  bool operator==(const Ids&) const = default;
};

/// Layers in folders, stacked and attached; both ways of handing lowers to overlayfs.
class LayerStack : public testing::TestWithParam<LowerPassing> {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    for (const char* name : {"bottom", "top", "at"}) fs::create_directories(folder.path() / name);
  }
  void TearDown() override { must(detach_mount(folder.path() / "at")); }

  void write(const std::string& path, const std::string& content, Ids ids = {0, 0}) const {
    fs::create_directories((folder.path() / path).parent_path());
    must(write_file_atomic(folder.path() / path, content));
    ASSERT_EQ(::chown((folder.path() / path).c_str(), ids.uid, ids.gid), 0);
  }
  StackOptions options() const { return {.scratch = folder.path(), .passing = GetParam()}; }
  std::vector<UniqueFd> layers() const {
    std::vector<UniqueFd> result;
    result.push_back(layer_of(folder.path() / "bottom"));
    result.push_back(layer_of(folder.path() / "top"));
    return result;
  }
  void attach(const UniqueFd& mount) const { must(attach_mount(mount.get(), folder.path() / "at")); }
  std::string read(const std::string& name) const { return read_file(folder.path() / "at" / name).value_or("(none)"); }
  Ids ids(const std::string& name) const {
    struct stat status{};
    EXPECT_EQ(::lstat((folder.path() / "at" / name).c_str(), &status), 0) << name;
    return {status.st_uid, status.st_gid};
  }

  TestFolder folder;
};

INSTANTIATE_TEST_SUITE_P(Lowers, LayerStack, testing::Values(LowerPassing::automatic, LowerPassing::attached),
                         [](const auto& tested) {
                           return tested.param == LowerPassing::automatic ? "ByDescriptor" : "ByPath";
                         });

TEST_P(LayerStack, UpperLayersHideLowerOnes) {
  write("bottom/both", "below");
  write("bottom/below", "below");
  write("top/both", "above");
  write("top/above", "above");
  attach(must(stack_layers(layers(), options())));
  EXPECT_EQ(read("both"), "above");
  EXPECT_EQ(read("below"), "below");
  EXPECT_EQ(read("above"), "above");
}

TEST_P(LayerStack, WhiteoutsAndOpaqueFoldersHide) {
  write("bottom/gone", "x");
  write("bottom/folder/old", "x");
  write("top/folder/new", "y");
  ASSERT_EQ(::mknod((folder.path() / "top/gone").c_str(), S_IFCHR | 0600, 0), 0);
  ASSERT_EQ(::setxattr((folder.path() / "top/folder").c_str(), "trusted.overlay.opaque", "y", 1, 0), 0);
  auto mapped = options();
  mapped.id_map = IdMap{.host_base = kTestIdBase};
  attach(must(stack_layers(layers(), mapped)));
  EXPECT_EQ(read("gone"), "(none)");
  EXPECT_EQ(read("folder/old"), "(none)");
  EXPECT_EQ(read("folder/new"), "y");
}

TEST_P(LayerStack, IdsAreShiftedIntoTheRange) {
  write("bottom/of-root", "x");
  write("top/of-model", "x", {1000, 1001});
  auto mapped = options();
  mapped.id_map = IdMap{.host_base = kTestIdBase};
  attach(must(stack_layers(layers(), mapped)));
  EXPECT_EQ(ids("of-root"), (Ids{kTestIdBase, kTestIdBase}));
  EXPECT_EQ(ids("of-model"), (Ids{kTestIdBase + 1000, kTestIdBase + 1001}));
}

TEST_P(LayerStack, WithoutIdMapIdsAreAsInTheImage) {
  write("top/of-model", "x", {1000, 1001});
  auto plain = options();
  plain.devices = Devices::visible;
  ASSERT_EQ(::mknod((folder.path() / "bottom/zero").c_str(), S_IFCHR | 0666, makedev(1, 5)), 0);
  attach(must(stack_layers(layers(), plain)));
  EXPECT_EQ(ids("of-model"), (Ids{1000, 1001}));
  EXPECT_TRUE(open_file(folder.path() / "at/zero", O_RDONLY));
}

TEST_P(LayerStack, DevicesAreDeadUnlessAskedFor) {
  ASSERT_EQ(::mknod((folder.path() / "bottom/zero").c_str(), S_IFCHR | 0666, makedev(1, 5)), 0);
  attach(must(stack_layers(layers(), options())));
  EXPECT_FALSE(open_file(folder.path() / "at/zero", O_RDONLY));
}

TEST_P(LayerStack, NothingCanBeWritten) {
  attach(must(stack_layers(layers(), options())));
  EXPECT_THAT(open_file(folder.path() / "at/new", O_WRONLY | O_CREAT).error().message, HasSubstr("Read-only"));
}

TEST_P(LayerStack, MissingMountPointsAppearAndExistingOnesKeepTheirContent) {
  write("bottom/etc/hosts", "kept");
  auto with_points = options();
  with_points.id_map = IdMap{.host_base = kTestIdBase};
  with_points.directories = {{"/tmp", 01777}, {"/hearth/runner"}, {"/etc"}};
  with_points.files = {"/etc/resolv.conf", "/etc/hosts"};
  attach(must(stack_layers(layers(), with_points)));
  EXPECT_EQ(fs::status(folder.path() / "at/tmp").permissions(), fs::perms(01777));
  EXPECT_TRUE(fs::is_directory(folder.path() / "at/hearth/runner"));
  EXPECT_EQ(ids("hearth/runner"), (Ids{kTestIdBase, kTestIdBase}));
  EXPECT_EQ(read("etc/resolv.conf"), "");
  EXPECT_EQ(read("etc/hosts"), "kept");
}

TEST_P(LayerStack, WritableStackStoresIdsAsInside) {
  write("bottom/file", "old", {7, 8});
  write("bottom/changed", "old", {7, 8});
  fs::create_directories(folder.path() / "build/upper");
  fs::create_directories(folder.path() / "build/work");
  auto mapped = options();
  mapped.id_map = IdMap{.host_base = kTestIdBase};
  attach(must(stack_layers_writable(
      layers(), {.upper = folder.path() / "build/upper", .work = folder.path() / "build/work"}, mapped)));
  const auto at = folder.path() / "at";
  // As root inside would: root of the host has no id there.
  must(as_mapped_root(*mapped.id_map, [&at]() -> Result<UniqueFd> {
    fs::create_directory(at / "made");
    must(open_file(at / "by-root", O_WRONLY | O_CREAT));
    must(open_file(at / "changed", O_WRONLY | O_TRUNC));  // copied up with its owner
    fs::remove(at / "file");
    if (::chown((at / "made").c_str(), kTestIdBase + 3, kTestIdBase + 4) != 0) return fail_errno("chown", errno);
    return UniqueFd();
  }));
  struct stat status{};
  ASSERT_EQ(::lstat((folder.path() / "build/upper/by-root").c_str(), &status), 0);
  EXPECT_EQ((Ids{status.st_uid, status.st_gid}), (Ids{0, 0}));
  ASSERT_EQ(::lstat((folder.path() / "build/upper/changed").c_str(), &status), 0);
  EXPECT_EQ((Ids{status.st_uid, status.st_gid}), (Ids{7, 8}));
  ASSERT_EQ(::lstat((folder.path() / "build/upper/made").c_str(), &status), 0);
  EXPECT_EQ((Ids{status.st_uid, status.st_gid}), (Ids{3, 4}));
  ASSERT_EQ(::lstat((folder.path() / "build/upper/file").c_str(), &status), 0);
  EXPECT_TRUE(S_ISCHR(status.st_mode) && status.st_rdev == 0);  // a whiteout
}

TEST_P(LayerStack, LeavesNoMountsBehind) {
  const auto before = must(read_file("/proc/self/mountinfo"));
  {
    const auto stack = must(stack_layers(layers(), options()));
  }
  EXPECT_EQ(must(read_file("/proc/self/mountinfo")), before);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 3);
}

TEST(LayerStackLimits, EmptyStackIsRefused) {
  EXPECT_THAT(stack_layers({}).error().message, HasSubstr("without layers"));
}

TEST(DetachMount, NothingMountedIsNoError) {
  EXPECT_TRUE(detach_mount("/tmp/hearth-no-such-directory"));
  EXPECT_FALSE(is_mount_point("/tmp"));
  EXPECT_TRUE(is_mount_point("/proc"));
}

}  // namespace

}  // namespace hearth::container
