#include "mount/imagefs.hpp"

#include "base/file.hpp"
#include "base/random_id.hpp"
#include "base/seqpacket.hpp"
#include "blob/object_store.hpp"
#include "image/layer_builder.hpp"
#include "image/layer_reader.hpp"
#include "image/testing/tree_spec.hpp"
#include "mount/imagefs_client.hpp"
#include "mount/message.hpp"
#include "mount/testing/child_process.hpp"
#include "mount/testing/mounted_tree.hpp"
#include "mount/unpack_backend.hpp"

#include <gmock/gmock.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <atomic>
#include <future>
#include <thread>

namespace hearth::mount {

namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

template <class T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message);
  return std::move(*result);
}
void must(const Result<>& result) {
  if (!result) throw std::runtime_error(result.error().message);
}
void check(int returned) {
  if (returned != 0) throw std::runtime_error(std::string("system call: ") + ::strerror(errno));
}

/// A store with one layer of everything a layer can hold, made from a folder.
class ImagefsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root: files of every owner, devices, mounts";
    for (const char* name : {"store", "source"}) fs::create_directories(folder / name);
    store = must(blob::open_store((folder / "store").string()));
    fill_source();
    layer = must(image::build_layer_from_directory(store, image::StoreScope::workspace("acme"), folder / "source",
                                                   {.marks = image::OverlayMarks::keep}))
                .digest;
  }
  void TearDown() override {
    std::error_code ignored;
    fs::remove_all(folder, ignored);
  }

  void fill_source() const {
    const auto root = folder / "source";
    fs::create_directories(root / "bin");
    fs::create_directories(root / "opaque");
    write(root / "bin/tool", "#!/bin/sh\n");
    check(::chown((root / "bin/tool").c_str(), 7, 4294967294U));
    check(::chmod((root / "bin/tool").c_str(), 06755));
    const std::string capability("\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
                                 20);
    write(root / "bin/ping", "x");
    check(::setxattr((root / "bin/ping").c_str(), "security.capability", capability.data(), capability.size(), 0));
    check(::setxattr((root / "bin").c_str(), "user.note", "hi", 2, 0));
    check(::setxattr((root / "opaque").c_str(), "trusted.overlay.opaque", "y", 1, 0));
    check(::mknod((root / "gone").c_str(), S_IFCHR, 0));  // a whiteout: a mark without mode or time
    set_time(root / "gone", 0, 0);
    check(::mknod((root / "null").c_str(), S_IFCHR | 0666, makedev(1, 3)));
    check(::mknod((root / "disk").c_str(), S_IFBLK | 0660, makedev(259, 70000)));
    check(::mkfifo((root / "pipe").c_str(), 0622));
    fs::create_symlink("/etc/passwd", root / "link");
    fs::create_symlink("..", root / "bin/up");
    fs::create_hard_link(root / "bin/tool", root / "tool-again");
    write(root / "na\xffme \n*", "odd");
    write(root / "empty", "");
    std::string big(3 * 1024 * 1024 + 17, '\0');
    for (size_t i = 0; i < big.size(); ++i) big[i] = static_cast<char>((i * 2654435761U) >> 13);
    write(root / "big", big);
    write(root / "big-twice", big);
    const UniqueFd sparse(::open((root / "sparse").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0640));
    check(::ftruncate(sparse.get(), 64 << 20));
    if (::pwrite(sparse.get(), "middle", 6, 32 << 20) != 6) throw std::runtime_error("pwrite");
    set_time(root / "bin/tool", -5, 123456789);
    set_time(root / "link", 1700000000, 999999999);
    set_time(root / "bin", 1600000000, 1);
    set_time(root, 1500000000, 2);
    check(::chmod((root / "opaque").c_str(), 0));
  }
  static void write(const fs::path& path, const std::string& bytes) { must(write_file_atomic(path, bytes)); }
  static void set_time(const fs::path& path, time_t at, long ns) {
    const timespec times[2] = {{at, ns}, {at, ns}};
    check(::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW));
  }

  /// What differs between a mounted layer and the folder it was made from.
  std::string difference_from_source(const UniqueFd& mount) const {
    const auto expected = must(image::testing::read_tree(folder / "source", image::testing::Holes::compare));
    return must(testing::difference_of_mount(expected, mount.get()));
  }

  fs::path folder = "/tmp/hearth-mount-" + random_id(8);
  std::shared_ptr<blob::ObjectStore> store;
  Digest layer;
};

// ---- The unpacked tree ---------------------------------------------------------------------------------------

class UnpackBackendTest : public ImagefsTest {
 protected:
  std::unique_ptr<UnpackBackend> open() { return must(UnpackBackend::open(folder / "imagefs", store)); }
  static void ignore(const LayerProgress&) {}
};

TEST_F(UnpackBackendTest, TreeIsTheOneTheLayerWasMadeFrom) {
  const auto backend = open();
  EXPECT_EQ(difference_from_source(must(backend->mount_layer({.workspace = "acme", .digest = layer}, ignore))), "");
}

TEST_F(UnpackBackendTest, HolesStayHoles) {
  const auto backend = open();
  const auto mount = must(backend->mount_layer({.workspace = "acme", .digest = layer}, ignore));
  struct stat status{};
  check(::fstatat(mount.get(), "sparse", &status, 0));
  EXPECT_EQ(status.st_size, 64 << 20);
  EXPECT_LT(status.st_blocks * 512, 2 << 20);
}

TEST_F(UnpackBackendTest, MountIsReadOnly) {
  const auto backend = open();
  const auto mount = must(backend->mount_layer({.workspace = "acme", .digest = layer}, ignore));
  EXPECT_LT(::openat(mount.get(), "new", O_CREAT | O_WRONLY, 0600), 0);
  EXPECT_EQ(errno, EROFS);
}

TEST_F(UnpackBackendTest, OtherWorkspaceIsToldThereIsNone) {
  const auto backend = open();
  must(backend->mount_layer({.workspace = "acme", .digest = layer}, ignore));  // it is on this machine
  const auto mount = backend->mount_layer({.workspace = "other", .digest = layer}, ignore);
  ASSERT_FALSE(mount);
  EXPECT_EQ(mount.error().code, ErrorCode::not_found);
}

TEST_F(UnpackBackendTest, ManyAskersShareOneEffort) {
  const auto backend = open();
  std::atomic<int> mounted = 0;
  {
    std::vector<std::jthread> askers;
    for (int i = 0; i < 8; ++i) {
      askers.emplace_back([this, &backend, &mounted] {
        mounted += backend->mount_layer({.workspace = "acme", .digest = layer}, ignore) ? 1 : 0;
      });
    }
  }
  EXPECT_EQ(mounted, 8);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder / "imagefs/layers"), {}), 1);
  EXPECT_TRUE(fs::is_empty(folder / "imagefs/tmp"));
}

TEST_F(UnpackBackendTest, LocalLayerNeedsNoStore) {
  must(open()->mount_layer({.workspace = "acme", .digest = layer}, ignore));
  fs::rename(folder / "store", folder / "store-away");
  EXPECT_TRUE(open()->mount_layer({.workspace = "acme", .digest = layer}, ignore));
}

TEST_F(UnpackBackendTest, CorruptChunkIsNamedAndNothingIsLeft) {
  for (const auto& key : must(store->list("ws/acme/packs/"))) {
    auto bytes = must(store->get(key));
    for (size_t at = 0; at < bytes.size(); at += 512) bytes[at] = static_cast<char>(bytes[at] ^ 1);
    must(store->remove(key));
    must(store->create(key, bytes));
  }
  const auto backend = open();
  const auto mount = backend->mount_layer({.workspace = "acme", .digest = layer}, ignore);
  ASSERT_FALSE(mount);
  EXPECT_EQ(mount.error().code, ErrorCode::corrupt);
  EXPECT_THAT(mount.error().message, AllOf(HasSubstr(layer.hex()), HasSubstr("chunk")));
  EXPECT_TRUE(fs::is_empty(folder / "imagefs/layers"));
  EXPECT_TRUE(fs::is_empty(folder / "imagefs/tmp"));
}

TEST_F(UnpackBackendTest, FullDiskIsSaidAndNothingIsLeft) {
  fs::create_directories(folder / "imagefs");
  check(::mount("tmpfs", (folder / "imagefs").c_str(), "tmpfs", 0, "size=2m"));
  {
    const auto backend = open();
    const auto mount = backend->mount_layer({.workspace = "acme", .digest = layer}, ignore);
    ASSERT_FALSE(mount);
    EXPECT_EQ(mount.error().code, ErrorCode::exhausted);
    EXPECT_THAT(mount.error().message, HasSubstr("disk is full"));
    EXPECT_TRUE(fs::is_empty(folder / "imagefs/layers"));
    EXPECT_TRUE(fs::is_empty(folder / "imagefs/tmp"));
  }
  check(::umount2((folder / "imagefs").c_str(), MNT_DETACH));
}

TEST_F(UnpackBackendTest, LayerOfAnEarlierBootThatMayBeHalfOnDiskIsUnpackedAgain) {
  must(open()->mount_layer({.workspace = "acme", .digest = layer}, ignore));
  const auto home = folder / "imagefs/layers" / layer.hex();
  EXPECT_THAT(must(read_file(home / "state")), HasSubstr("durable"));
  must(write_file_atomic(home / "state", R"({"boot":"another"})"));
  fs::remove(home / "tree/big");
  EXPECT_EQ(difference_from_source(must(open()->mount_layer({.workspace = "acme", .digest = layer}, ignore))), "");
}

TEST_F(UnpackBackendTest, SecondOwnerOfTheFolderIsRefused) {
  const auto first = open();
  EXPECT_THAT(UnpackBackend::open(folder / "imagefs", store).error().message, HasSubstr("another imagefs"));
}

// ---- The process ---------------------------------------------------------------------------------------------

/// imagefs in a process of its own, to be killed.
class ImagefsProcess : public testing::ChildProcess {
 public:
  explicit ImagefsProcess(const fs::path& folder)
      : ChildProcess([&folder] {
          return serve({.socket = folder / "imagefs.sock",
                        .dir = folder / "imagefs",
                        .store = (folder / "store").string(),
                        .backend = "unpack"})
              .has_value();
        }) {}
};

class ImagefsServer : public ImagefsTest {
 protected:
  Result<UniqueFd> ask(const std::string& workspace = "acme") const {
    return ImagefsClient(folder / "imagefs.sock")
        .layer({.workspace = workspace,
                .digest = layer,
                .on_progress = {},
                .deadline = Deadline::after(mono_now(), seconds(20))});
  }
};

TEST_F(ImagefsServer, ClientGetsTheLayerAsAMount) {
  const ImagefsProcess imagefs(folder);
  EXPECT_EQ(difference_from_source(must(ask())), "");
}

TEST_F(ImagefsServer, ErrorsTravelWithTheirCode) {
  const ImagefsProcess imagefs(folder);
  EXPECT_EQ(ask("other").error().code, ErrorCode::not_found);
  EXPECT_EQ(ask("../acme").error().code, ErrorCode::invalid_argument);
}

TEST_F(ImagefsServer, KilledAtAnyMomentItsSuccessorServesTheWholeLayer) {
  for (int delay_ms = 0; delay_ms < 60; delay_ms += 6) {
    fs::remove_all(folder / "imagefs");
    ImagefsProcess first(folder);
    auto asking = std::async(std::launch::async, [this] { return ask(); });
    std::this_thread::sleep_for(milliseconds(delay_ms));
    first.end(SIGKILL);
    const ImagefsProcess second(folder);
    const auto answer = asking.get();  // the asker notices nothing but time
    ASSERT_TRUE(answer) << answer.error().message;
    EXPECT_EQ(difference_from_source(*answer), "") << "killed after " << delay_ms << " ms";
  }
}

TEST_F(ImagefsServer, StopsCleanlyWhenAsked) {
  ImagefsProcess imagefs(folder);
  must(ask());
  const int status = imagefs.end(SIGTERM);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(ImagefsServer, MountOutlivesTheProcess) {
  ImagefsProcess imagefs(folder);
  const auto mount = must(ask());
  imagefs.end(SIGKILL);
  EXPECT_EQ(difference_from_source(mount), "");
}

TEST_F(ImagefsServer, NonsenseIsAnsweredWithAnError) {
  const ImagefsProcess imagefs(folder);
  must(ask());
  for (const char* nonsense : {"", "{", "[]", "{\"version\":2,\"op\":\"layer\"}", "{\"version\":1,\"op\":\"x\"}",
                               "{\"version\":1,\"op\":\"layer\",\"workspace\":1,\"digest\":{}}"}) {
    auto socket = must(SeqpacketSocket::connect(folder / "imagefs.sock"));
    if (std::string_view(nonsense).empty()) continue;  // an empty packet is an end of file
    must(socket.send(nonsense));
    const auto answer = must(decode_answer(must(socket.receive(Deadline::after(mono_now(), seconds(5)))).bytes));
    EXPECT_EQ(answer.kind, LayerAnswer::Kind::error);
    EXPECT_EQ(answer.error.code, ErrorCode::invalid_argument);
  }
  EXPECT_TRUE(ask());
}

TEST(ImagefsClientAlone, AbsentServerIsWaitedForUntilTheDeadline) {
  const auto answer = ImagefsClient("/tmp/hearth-no-such.sock")
                          .layer({.workspace = "w",
                                  .digest = Digest(),
                                  .on_progress = {},
                                  .deadline = Deadline::after(mono_now(), milliseconds(50))});
  EXPECT_EQ(answer.error().code, ErrorCode::deadline_exceeded);
}

TEST(ImagefsMessages, AnswersComeBackAsTheyWere) {
  const auto progress = must(decode_answer(
      encode(LayerAnswer{.kind = LayerAnswer::Kind::progress, .progress = {5, 9}, .backend = "", .error = {}})));
  EXPECT_EQ(progress.kind, LayerAnswer::Kind::progress);
  EXPECT_EQ(progress.progress.done_bytes, 5U);
  EXPECT_EQ(progress.progress.total_bytes, 9U);
  const auto error = must(decode_answer(encode(LayerAnswer{
      .kind = LayerAnswer::Kind::error, .progress = {}, .backend = "", .error = {ErrorCode::corrupt, "chunk \xff"}})));
  EXPECT_EQ(error.error.code, ErrorCode::corrupt);
  EXPECT_THAT(error.error.message, HasSubstr("chunk"));
}

}  // namespace

}  // namespace hearth::mount
