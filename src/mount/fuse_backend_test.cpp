// The portable back end as its readers see it: ids are shifted, reads wait while imagefs is killed and comes back, an
// error is told when nothing else is left, and a wrong byte never is. backend_tree_test.cpp compares whole trees.
#include "mount/fuse_backend.hpp"

#include "base/file.hpp"
#include "base/random_id.hpp"
#include "blob/object_store.hpp"
#include "holder/client.hpp"
#include "holder/server.hpp"
#include "image/layer_builder.hpp"
#include "mount/backend_probe.hpp"
#include "mount/imagefs.hpp"
#include "mount/imagefs_client.hpp"
#include "mount/testing/cache_fixture.hpp"
#include "mount/testing/child_process.hpp"
#include "mount/testing/lazy_backends.hpp"

#include <gmock/gmock.h>

#include <fcntl.h>
#include <linux/posix_acl_xattr.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <future>
#include <map>
#include <optional>
#include <set>
#include <thread>

namespace hearth::mount {

namespace {

namespace fs = std::filesystem;
using Process = mount::testing::ChildProcess;
using mount::testing::must;
using mount::testing::noise;
using mount::testing::prose;
using mount::testing::TemporaryFolder;

constexpr uint32_t kBase = 300'000;
constexpr unsigned kOverflowed = 65534;

/// What a reader saw of a file: its bytes, or the errno.
struct Seen {
  std::string bytes;
  int error = 0;
};

Seen read_at(int mount, const std::string& name) {
  const UniqueFd file(::openat(mount, name.c_str(), O_RDONLY | O_CLOEXEC));
  Seen seen;
  if (!file) return {.error = errno};
  std::string piece(300'000, '\0');  // no multiple of anything
  for (;;) {
    const ssize_t size = ::read(file.get(), piece.data(), piece.size());
    if (size < 0) return {.error = errno};
    if (size == 0) return seen;
    seen.bytes.append(piece, 0, static_cast<size_t>(size));
  }
}

struct stat status_at(int mount, const std::string& name) {
  struct stat status{};
  EXPECT_EQ(::fstatat(mount, name.c_str(), &status, AT_SYMLINK_NOFOLLOW), 0) << name;
  return status;
}

class FuseBackendTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root: mounts";
    if (auto able = probe_fuse(); !able) GTEST_SKIP() << "this host cannot: " << able.error().message;
    store = must(blob::open_store((folder.path() / "store").string(), blob::IfMissing::create));
    for (uint32_t i = 0; i < 24; ++i) {
      const size_t size = (i % 6 + 1) * 700'000 + i * 4'001;
      contents["file-" + std::to_string(i)] = i % 2 == 0 ? noise(size, i) : prose(size, i);
    }
    fs::create_directories(source());
    for (const auto& [name, bytes] : contents) must(write_file_atomic(source() / name, bytes));
  }

  fs::path source() const { return folder.path() / "source"; }
  Digest build(const fs::path& from) const {
    return must(image::build_layer_from_directory(store, image::StoreScope::workspace("acme"), from)).digest;
  }
  const Digest& layer() {
    if (!layer_) layer_ = build(source());
    return *layer_;
  }

  Process start_holder() const {
    Process holder([this] { return holder::serve({.socket = folder.path() / "holder.sock"}).has_value(); });
    mount::testing::wait_for_holder(folder.path() / "holder.sock");
    return holder;
  }
  Process start_imagefs(Duration read_deadline = seconds(30)) const {
    return Process([this, read_deadline] {
      return serve({.socket = folder.path() / "imagefs.sock",
                    .dir = folder.path() / "imagefs",
                    .holder = folder.path() / "holder.sock",
                    .store = (folder.path() / "store").string(),
                    .backend = "fuse",
                    .read_deadline = read_deadline})
          .has_value();
    });
  }
  Result<UniqueFd> mounted(const Digest& digest, uint32_t id_base = 0) const {
    return ImagefsClient(folder.path() / "imagefs.sock")
        .layer({.workspace = "acme",
                .digest = digest,
                .id_base = id_base,
                .deadline = Deadline::after(mono_now(), seconds(60))});
  }
  std::vector<std::string> kept() const {
    return must(holder::Client(folder.path() / "holder.sock").list("imagefs/fuse/"));
  }

  /// Reads every file once; returns how many failed or have wrong bytes.
  int read_all(int mount) const {
    int failed = 0;
    for (const auto& [name, bytes] : contents) {
      const Seen seen = read_at(mount, name);
      if (seen.error == 0 && seen.bytes == bytes) continue;
      ADD_FAILURE() << name << (seen.error != 0 ? ": error " + std::to_string(seen.error) : " has wrong bytes");
      ++failed;
    }
    return failed;
  }

  /// A reader that must not be in our own process when another imagefs is forked: that one would have the reader's
  /// files open, and its end would wait for itself.
  Process start_reader(int mount) const {
    return Process([this, mount] { return read_all(mount) == 0; });
  }
  /// Waits for its end. Whether all it read was right.
  static bool has_read_all(Process& reader) { return reader.end(0) == 0; }

  void hide_store() const { fs::rename(folder.path() / "store", folder.path() / "store-away"); }
  void show_store() const { fs::rename(folder.path() / "store-away", folder.path() / "store"); }

  TemporaryFolder folder{"/var/tmp"};
  std::shared_ptr<blob::ObjectStore> store;
  std::map<std::string, std::string> contents;

 private:
  std::optional<Digest> layer_;
};

TEST_F(FuseBackendTest, ManyReadersAtOnceGetWhatTheLayerWasMadeFrom) {
  const Process holder = start_holder();
  const Process imagefs = start_imagefs();
  const UniqueFd mount = must(mounted(layer()));
  struct statfs status{};
  ASSERT_EQ(::fstatfs(mount.get(), &status), 0);
  EXPECT_EQ(status.f_type, 0x65735546) << "FUSE_SUPER_MAGIC: who stacks it must know that ids are shifted already";
  std::vector<std::future<int>> readers;
  for (int i = 0; i < 8; ++i) {
    readers.push_back(std::async(std::launch::async, [this, &mount] { return read_all(mount.get()); }));
  }
  for (auto& reader : readers) EXPECT_EQ(reader.get(), 0);
}

TEST_F(FuseBackendTest, IdsAreShiftedByTheBaseAndWhatNoMapCoversIsNobodys) {
  const auto owned = [this](const char* name, unsigned uid, unsigned gid) {
    ASSERT_EQ(::chown((source() / name).c_str(), uid, gid), 0);
  };
  owned("file-0", 0, 0);
  owned("file-1", 1000, 50);
  owned("file-2", 65535, 65536);
  owned("file-3", 4'000'000, 7);
  const Process holder = start_holder();
  const Process imagefs = start_imagefs();
  const UniqueFd shifted = must(mounted(layer(), kBase));
  const UniqueFd plain = must(mounted(layer(), 0));
  const auto ids = [](int mount, const char* name) {
    const auto status = status_at(mount, name);
    return std::pair(status.st_uid, status.st_gid);
  };
  EXPECT_EQ(ids(shifted.get(), "file-0"), std::pair(kBase, kBase));
  EXPECT_EQ(ids(shifted.get(), "file-1"), std::pair(kBase + 1000, kBase + 50));
  EXPECT_EQ(ids(shifted.get(), "file-2"), std::pair(kBase + 65535, kOverflowed));
  EXPECT_EQ(ids(shifted.get(), "file-3"), std::pair(kOverflowed, kBase + 7));
  EXPECT_EQ(ids(plain.get(), "file-2"), std::pair(65535U, 65536U));
  EXPECT_EQ(ids(plain.get(), "file-3"), std::pair(4'000'000U, 7U));
}

TEST_F(FuseBackendTest, IdsInAccessControlListsAreShiftedToo) {
  struct Acl {
    posix_acl_xattr_header header{POSIX_ACL_XATTR_VERSION};
    posix_acl_xattr_entry entries[5]{{0x01, 6, UINT32_MAX},   // owner
                                     {0x02, 4, 1234},         // user 1234
                                     {0x04, 4, UINT32_MAX},   // group
                                     {0x10, 6, UINT32_MAX},   // mask
                                     {0x20, 0, UINT32_MAX}};  // others
  } const acl;
  const auto path = source() / "file-0";
  if (::setxattr(path.c_str(), "system.posix_acl_access", &acl, sizeof acl, 0) != 0) {
    GTEST_SKIP() << "the disk below /var/tmp keeps no ACLs";
  }
  const Process holder = start_holder();
  const Process imagefs = start_imagefs();
  const UniqueFd mount = must(mounted(layer(), kBase));
  const UniqueFd file(::openat(mount.get(), "file-0", O_RDONLY | O_CLOEXEC));
  Acl seen;
  ASSERT_EQ(::fgetxattr(file.get(), "system.posix_acl_access", &seen, sizeof seen), static_cast<ssize_t>(sizeof seen));
  EXPECT_EQ(seen.entries[1].e_id, kBase + 1234);
  EXPECT_EQ(seen.entries[0].e_id, UINT32_MAX);
}

TEST_F(FuseBackendTest, OneMountServesAllWhoAskForALayerWithOneBase) {
  const Process holder = start_holder();
  const Process imagefs = start_imagefs();
  std::vector<std::future<dev_t>> asking;
  for (int i = 0; i < 8; ++i) {
    asking.push_back(std::async(
        std::launch::async, [this, &digest = layer()] { return status_at(must(mounted(digest)).get(), ".").st_dev; }));
  }
  std::set<dev_t> seen;
  for (auto& one : asking) seen.insert(one.get());
  EXPECT_EQ(seen.size(), 1U);
  EXPECT_NE(status_at(must(mounted(layer(), kBase)).get(), ".").st_dev, *seen.begin());
}

TEST_F(FuseBackendTest, AKilledImagefsCostsAReaderNothingButTime) {
  const Process holder = start_holder();
  for (int delay_ms = 1; delay_ms < 120; delay_ms += 17) {
    fs::remove_all(folder.path() / "imagefs");
    auto imagefs = std::make_unique<Process>(start_imagefs());
    UniqueFd mount = must(mounted(layer()));
    std::vector<Process> reading;
    for (int i = 0; i < 3; ++i) reading.push_back(start_reader(mount.get()));
    const auto before = status_at(mount.get(), "file-7");
    for (int kills = 0; kills < 3; ++kills) {
      std::this_thread::sleep_for(milliseconds(delay_ms));
      imagefs->end(SIGKILL);
      imagefs = std::make_unique<Process>(start_imagefs());
    }
    for (auto& reader : reading) EXPECT_TRUE(has_read_all(reader)) << "killed every " << delay_ms << " ms";
    EXPECT_EQ(status_at(mount.get(), "file-7").st_ino, before.st_ino);
    EXPECT_EQ(status_at(must(mounted(layer())).get(), "file-7").st_dev, before.st_dev) << "it is the same mount";
    mount.reset();
    imagefs->end(SIGKILL);
    holder::Client client(folder.path() / "holder.sock");
    for (const auto& name : must(client.list("imagefs/fuse/"))) must(client.drop(name));
  }
}

TEST_F(FuseBackendTest, AnImagefsThatIsToldToStopLeavesItsReadersToTheNext) {
  const Process holder = start_holder();
  auto imagefs = std::make_unique<Process>(start_imagefs());
  const UniqueFd mount = must(mounted(layer()));
  hide_store();
  Process reader = start_reader(mount.get());
  std::this_thread::sleep_for(milliseconds(100));  // it waits for the store, most likely
  EXPECT_EQ(imagefs->end(SIGTERM), 0);
  show_store();
  imagefs = std::make_unique<Process>(start_imagefs());
  EXPECT_TRUE(has_read_all(reader));
}

TEST_F(FuseBackendTest, AKilledHolderCostsNothingWhileImagefsLives) {
  auto holder = std::make_unique<Process>(start_holder());
  auto imagefs = std::make_unique<Process>(start_imagefs());
  const UniqueFd mount = must(mounted(layer()));
  holder->end(SIGKILL);
  EXPECT_EQ(read_all(mount.get()), 0);
  holder = std::make_unique<Process>(start_holder());
  for (int i = 0; i < 500 && kept().size() < 3; ++i) std::this_thread::sleep_for(milliseconds(20));
  ASSERT_EQ(kept().size(), 3U) << "the new holder was given what the old one had";
  imagefs->end(SIGKILL);
  imagefs = std::make_unique<Process>(start_imagefs());
  EXPECT_EQ(read_all(mount.get()), 0);
}

TEST_F(FuseBackendTest, WithoutTheStoreAReadWaitsThenFailsAndWorksAgainWithIt) {
  const Process holder = start_holder();
  const Process imagefs = start_imagefs(seconds(2));
  const UniqueFd mount = must(mounted(layer()));
  hide_store();
  EXPECT_EQ(read_at(mount.get(), "file-3").error, EIO);
  show_store();
  EXPECT_EQ(read_all(mount.get()), 0);
}

TEST_F(FuseBackendTest, NothingCanBeChanged) {
  const Process holder = start_holder();
  const Process imagefs = start_imagefs();
  const UniqueFd mount = must(mounted(layer()));
  EXPECT_EQ(::openat(mount.get(), "file-0", O_WRONLY | O_CLOEXEC), -1);
  EXPECT_EQ(errno, EROFS);
  EXPECT_EQ(::mkdirat(mount.get(), "new", 0700), -1);
  EXPECT_EQ(errno, EROFS);
  EXPECT_EQ(::unlinkat(mount.get(), "file-0", 0), -1);
  EXPECT_EQ(errno, EROFS);
  EXPECT_EQ(::fchmodat(mount.get(), "file-0", 0600, 0), -1);
  EXPECT_EQ(errno, EROFS);
}

TEST_F(FuseBackendTest, MoreMountsThanAByteCounts) {
  constexpr uint32_t kMounts = 300;
  const Process holder = start_holder();
  auto imagefs = std::make_unique<Process>(start_imagefs());
  std::vector<UniqueFd> mounts;
  std::set<dev_t> devices;
  for (uint32_t i = 0; i < kMounts; ++i) {
    mounts.push_back(must(mounted(layer(), kBase + i * 65536)));
    devices.insert(status_at(mounts.back().get(), ".").st_dev);
  }
  EXPECT_EQ(devices.size(), kMounts);
  const auto check = [this, &mounts] {
    for (uint32_t i = 0; i < kMounts; ++i) {
      EXPECT_EQ(status_at(mounts[i].get(), ".").st_uid, kBase + i * 65536);
      const std::string name = "file-" + std::to_string(i % contents.size());
      EXPECT_TRUE(read_at(mounts[i].get(), name).bytes == contents[name]) << "mount " << i;
    }
  };
  check();
  imagefs->end(SIGKILL);
  imagefs = std::make_unique<Process>(start_imagefs());
  check();
}

TEST_F(FuseBackendTest, AMountThatIsAbortedIsForgottenAndMadeAnew) {
  const Process holder = start_holder();
  const Process imagefs = start_imagefs();
  const UniqueFd mount = must(mounted(layer()));
  ASSERT_EQ(kept().size(), 3U);
  const auto control =
      "/sys/fs/fuse/connections/" + std::to_string(minor(status_at(mount.get(), ".").st_dev)) + "/abort";
  const auto abort = open_file(control, O_WRONLY);
  if (!abort) GTEST_SKIP() << "fusectl is not mounted";
  must(write_all(abort->get(), "1", control));
  for (int i = 0; i < 500 && !kept().empty(); ++i) std::this_thread::sleep_for(milliseconds(20));
  EXPECT_TRUE(kept().empty());
  EXPECT_EQ(read_all(must(mounted(layer())).get()), 0);
}

}  // namespace

}  // namespace hearth::mount
