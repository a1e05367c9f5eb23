// The kernel back end as its readers see it: while processes are killed, stores vanish and bytes rot, a reader waits,
// or gets EIO when nothing else is left, but never a wrong byte.
#include "mount/erofs_backend.hpp"

#include "base/fanotify.hpp"
#include "base/file.hpp"
#include "base/random_id.hpp"
#include "blob/object_store.hpp"
#include "holder/client.hpp"
#include "holder/server.hpp"
#include "image/layer_builder.hpp"
#include "image/layer_reader.hpp"
#include "mount/backend_probe.hpp"
#include "mount/erofs_mount.hpp"
#include "mount/imagefs.hpp"
#include "mount/imagefs_client.hpp"
#include "mount/testing/cache_fixture.hpp"
#include "mount/testing/child_process.hpp"
#include "mount/testing/lazy_backends.hpp"

#include <gmock/gmock.h>

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <functional>
#include <future>
#include <map>
#include <thread>

namespace hearth::mount {

namespace {

namespace fs = std::filesystem;
using Process = mount::testing::ChildProcess;
using mount::testing::must;
using mount::testing::noise;
using mount::testing::prose;
using mount::testing::TemporaryFolder;

using Contents = std::map<std::string, std::string>;

/// What a reader saw of a file: its bytes, or the errno.
struct Seen {
  std::string bytes;
  int error = 0;
};

Seen read_at(int mount, const std::string& name) {
  const UniqueFd file(::openat(mount, name.c_str(), O_RDONLY | O_CLOEXEC));
  Seen seen;
  if (!file) return {.error = errno};
  std::string piece(1 << 20, '\0');
  for (;;) {
    const ssize_t size = ::read(file.get(), piece.data(), piece.size());
    if (size < 0) return {.error = errno};
    if (size == 0) return seen;
    seen.bytes.append(piece, 0, static_cast<size_t>(size));
  }
}

class ErofsBackendTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root: fanotify, mounts";
    if (auto able = probe_erofs(folder.path()); !able) GTEST_SKIP() << "this host cannot: " << able.error().message;
    store = must(blob::open_store((folder.path() / "store").string(), blob::IfMissing::create));
    for (uint32_t i = 0; i < 24; ++i) {
      const size_t size = (i % 6 + 1) * 700'000 + i * 4'001;
      contents["file-" + std::to_string(i)] = i % 2 == 0 ? noise(size, i) : prose(size, i);
    }
    fs::create_directories(folder.path() / "source");
    for (const auto& [name, bytes] : contents) must(write_file_atomic(folder.path() / "source" / name, bytes));
    layer =
        must(image::build_layer_from_directory(store, image::StoreScope::workspace("acme"), folder.path() / "source"))
            .digest;
  }

  Process start_holder() const {
    return Process([this] { return holder::serve({.socket = folder.path() / "holder.sock"}).has_value(); });
  }
  Process start_imagefs(Duration read_deadline = seconds(30), Duration scrub_every = std::chrono::hours(24)) const {
    return Process([this, read_deadline, scrub_every] {
      return serve({.socket = folder.path() / "imagefs.sock",
                    .dir = folder.path() / "imagefs",
                    .holder = folder.path() / "holder.sock",
                    .store = (folder.path() / "store").string(),
                    .backend = "erofs",
                    .read_deadline = read_deadline,
                    .scrub_every = scrub_every})
          .has_value();
    });
  }
  Result<UniqueFd> mounted() const {
    return ImagefsClient(folder.path() / "imagefs.sock")
        .layer({.workspace = "acme", .digest = layer, .deadline = Deadline::after(mono_now(), seconds(30))});
  }
  void wait_for_holder() const { mount::testing::wait_for_holder(folder.path() / "holder.sock"); }

  /// Reads every file once; returns how many failed. Wrong bytes fail the test.
  int read_all(int mount) const {
    int failed = 0;
    for (const auto& [name, bytes] : contents) {
      const Seen seen = read_at(mount, name);
      if (seen.error != 0) {
        ++failed;
        continue;
      }
      EXPECT_TRUE(seen.bytes == bytes) << name << " has wrong bytes";
    }
    return failed;
  }

  /// Whether reads of any file raise events.
  bool marks() const {
    const UniqueFd group = must(holder::Client(folder.path() / "holder.sock").get("imagefs/group"));
    return must(read_file("/proc/self/fdinfo/" + std::to_string(group.get()))).contains("fanotify ino:");
  }
  /// The value of a metric without labels.
  double metric(const std::string& name) const {
    const auto text =
        must(ImagefsClient(folder.path() / "imagefs.sock").metrics(Deadline::after(mono_now(), seconds(5))));
    const size_t at = text.find("\n" + name + " ");
    return at == std::string::npos ? -1 : std::stod(text.substr(at + name.size() + 2));
  }
  /// One bit of a byte in the middle of the cache's largest file, behind everybody's back.
  void rot() const {
    const auto files = data_files();
    const auto largest = *std::ranges::max_element(files, {}, [](const fs::path& file) { return fs::file_size(file); });
    const UniqueFd fd = must(open_file(largest, O_RDWR));
    const auto at = static_cast<off_t>(fs::file_size(largest) / 2 / kPageBytes * kPageBytes + 17);
    char byte = 0;
    ASSERT_EQ(::pread(fd.get(), &byte, 1, at), 1);
    byte = static_cast<char>(byte ^ 0x40);
    ASSERT_EQ(::pwrite(fd.get(), &byte, 1, at), 1);
    ASSERT_EQ(::fdatasync(fd.get()), 0);
  }
  /// As if it had to be read from the cache's files: what was cached is gone.
  void forget_files(int mount) const {
    for (const auto& [name, bytes] : contents) {
      const UniqueFd file(::openat(mount, name.c_str(), O_RDONLY | O_CLOEXEC));
      ::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED);
    }
  }
  template <class Condition>
  static void eventually(const Condition& condition) {
    while (!condition()) std::this_thread::sleep_for(milliseconds(10));
  }

  void forget_data_files() const {
    for (const auto& file : data_files()) {
      const UniqueFd fd = must(open_file(file, O_RDONLY));
      ::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED);
    }
  }
  /// Whether the kernel reads the data files past their page cache.
  bool reads_directly(int mount) const {
    const fs::path at = folder.path() / "seen";
    fs::create_directories(at);
    const UniqueFd copy(::open_tree(mount, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH));
    EXPECT_EQ(::move_mount(copy.get(), "", AT_FDCWD, at.c_str(), MOVE_MOUNT_F_EMPTY_PATH), 0);
    const std::string table = must(read_file("/proc/self/mountinfo"));
    ::umount2(at.c_str(), MNT_DETACH);
    const size_t line = table.find(" " + at.string() + " ");
    return table.substr(line, table.find('\n', line) - line).contains("directio");
  }

  void hide_store() const { fs::rename(folder.path() / "store", folder.path() / "store-away"); }
  void show_store() const { fs::rename(folder.path() / "store-away", folder.path() / "store"); }

  std::vector<fs::path> data_files() const {
    std::vector<fs::path> found;
    for (const auto& entry : fs::recursive_directory_iterator(folder.path() / "imagefs")) {
      if (entry.path().extension() == ".data") found.push_back(entry.path());
    }
    return found;
  }

  /// `prepare`, if any, is called with the mount once the layer is complete.
  void rot_while_the_store_is_away(const std::function<void(int)>& prepare) const {
    const Process holder = start_holder();
    wait_for_holder();
    const Process imagefs = start_imagefs(seconds(2), seconds(1));
    const UniqueFd mount = must(mounted());
    ASSERT_EQ(read_all(mount.get()), 0);
    eventually([this] { return !marks(); });
    if (prepare) prepare(mount.get());
    hide_store();
    rot();
    forget_files(mount.get());
    for (const auto& [name, bytes] : contents) read_at(mount.get(), name);
    eventually([this] { return metric("hearth_imagefs_rot_total") >= 1 && marks(); });
    EXPECT_EQ(read_all(mount.get()), 1) << "the file whose bytes they are";
    show_store();
    eventually([this] { return metric("hearth_imagefs_mended_total") >= 1; });
    EXPECT_EQ(read_all(mount.get()), 0);
  }

  TemporaryFolder folder{"/var/tmp"};  // a disk: tmpfs raises no events
  std::shared_ptr<blob::ObjectStore> store;
  Contents contents;
  Digest layer;
};

TEST_F(ErofsBackendTest, ReadersGetWhatTheLayerWasMadeFrom) {
  const Process holder = start_holder();
  wait_for_holder();
  const Process imagefs = start_imagefs();
  EXPECT_EQ(read_all(must(mounted()).get()), 0);
}

TEST_F(ErofsBackendTest, AHolderThatIsAwayWhenImagefsStartsIsWaitedFor) {
  const Process imagefs = start_imagefs();
  std::this_thread::sleep_for(milliseconds(100));
  const Process holder = start_holder();
  EXPECT_EQ(read_all(must(mounted()).get()), 0);
}

TEST_F(ErofsBackendTest, ManyReadersAtOnceGetTheSame) {
  const Process holder = start_holder();
  wait_for_holder();
  const Process imagefs = start_imagefs();
  const UniqueFd mount = must(mounted());
  std::vector<std::future<int>> readers;
  for (int i = 0; i < 8; ++i)
    readers.push_back(std::async(std::launch::async, [this, &mount] { return read_all(mount.get()); }));
  for (auto& reader : readers) EXPECT_EQ(reader.get(), 0);
}

TEST_F(ErofsBackendTest, AKilledImagefsCostsAReaderNothingButTime) {
  const Process holder = start_holder();
  wait_for_holder();
  for (int delay_ms = 1; delay_ms < 120; delay_ms += 17) {
    fs::remove_all(folder.path() / "imagefs");
    auto imagefs = std::make_unique<Process>(start_imagefs());
    UniqueFd mount = must(mounted());
    auto reading = std::async(std::launch::async, [this, fd = mount.get()] { return read_all(fd); });
    for (int kills = 0; kills < 3; ++kills) {
      std::this_thread::sleep_for(milliseconds(delay_ms));
      imagefs->end(SIGKILL);
      imagefs = std::make_unique<Process>(start_imagefs());
    }
    EXPECT_EQ(reading.get(), 0) << "killed every " << delay_ms << " ms";
    mount.reset();
    imagefs->end(SIGKILL);
    holder::Client client(folder.path() / "holder.sock");
    for (const auto& name : must(client.list("imagefs/layer/"))) must(client.drop(name));
    for (const auto& name : must(client.list("imagefs/pack/"))) must(client.drop(name));
  }
}

TEST_F(ErofsBackendTest, AKilledHolderMakesReadersWaitOrFailAndNeverLie) {
  for (int delay_ms = 1; delay_ms < 60; delay_ms += 23) {
    fs::remove_all(folder.path() / "imagefs");
    auto holder = std::make_unique<Process>(start_holder());
    wait_for_holder();
    const Process imagefs = start_imagefs();
    const UniqueFd mount = must(mounted());
    auto reading = std::async(std::launch::async, [this, &mount] { return read_all(mount.get()); });
    std::this_thread::sleep_for(milliseconds(delay_ms));
    holder->end(SIGKILL);
    std::this_thread::sleep_for(milliseconds(50));
    holder = std::make_unique<Process>(start_holder());
    reading.get();  // read_all has looked at every byte; EIO is allowed, zeros are not
    EXPECT_EQ(read_all(mount.get()), 0) << "afterwards everything can be read";
    EXPECT_EQ(read_all(must(mounted()).get()), 0);
  }
}

TEST_F(ErofsBackendTest, AKilledHolderAndImagefsTogetherNeverLieEither) {
  auto holder = std::make_unique<Process>(start_holder());
  wait_for_holder();
  auto imagefs = std::make_unique<Process>(start_imagefs());
  UniqueFd mount = must(mounted());
  holder::Client client(folder.path() / "holder.sock");
  const UniqueFd copy = must(client.get("imagefs/group"));  // as the supervisor of `hearth up` keeps one
  const holder::Child dead = must(client.process());
  auto reading = std::async(std::launch::async, [this, &mount] { return read_all(mount.get()); });
  std::this_thread::sleep_for(milliseconds(15));
  holder->end(SIGKILL);
  imagefs->end(SIGKILL);
  holder = std::make_unique<Process>(start_holder());
  wait_for_holder();
  must(client.relay(copy.get(), {.name = "imagefs/group", .predecessor = dead}));
  imagefs = std::make_unique<Process>(start_imagefs());
  reading.get();
  read_all(mount.get());
  EXPECT_EQ(read_all(must(mounted()).get()), 0) << "the next mount is whole";
}

TEST_F(ErofsBackendTest, ACompleteLayerNeedsNoDaemonAndNoStore) {
  auto holder = std::make_unique<Process>(start_holder());
  wait_for_holder();
  auto imagefs = std::make_unique<Process>(start_imagefs());
  const UniqueFd mount = must(mounted());
  ASSERT_EQ(read_all(mount.get()), 0);
  // Its packs lose their marks within a moment.
  eventually([this] { return !marks(); });
  hide_store();
  imagefs->end(SIGKILL);
  holder->end(SIGKILL);
  forget_data_files();
  EXPECT_EQ(read_all(mount.get()), 0);
}

TEST_F(ErofsBackendTest, ACompleteLayerIsReadDirectlyOnceItsFilesHaveLeftThePageCache) {
  const Process holder = start_holder();
  wait_for_holder();
  const Process imagefs = start_imagefs();
  const UniqueFd mount = must(mounted());
  EXPECT_FALSE(reads_directly(mount.get()));
  ASSERT_EQ(read_all(mount.get()), 0);
  eventually([this] { return !marks(); });
  eventually([this, &mount] {
    forget_data_files();
    return reads_directly(mount.get());
  });
  forget_files(mount.get());
  EXPECT_EQ(read_all(mount.get()), 0);
}

TEST_F(ErofsBackendTest, DirectReadsWaitForTheirBytesToo) {
  const Process holder = start_holder();
  wait_for_holder();
  auto imagefs = std::make_unique<Process>(start_imagefs());
  const UniqueFd mount = must(mounted());
  must(set_erofs_direct_reads(mount.get(), true));
  auto reading = std::async(std::launch::async, [this, &mount] { return read_all(mount.get()); });
  std::this_thread::sleep_for(milliseconds(15));
  imagefs->end(SIGKILL);
  imagefs = std::make_unique<Process>(start_imagefs());
  EXPECT_EQ(reading.get(), 0);
}

TEST_F(ErofsBackendTest, ChangingHowAMountReadsDisturbsNoReader) {
  const Process holder = start_holder();
  wait_for_holder();
  const Process imagefs = start_imagefs();
  const UniqueFd mount = must(mounted());
  const std::jthread changing([&mount](const std::stop_token& stop) {
    for (bool direct = true; !stop.stop_requested(); direct = !direct) {
      must(set_erofs_direct_reads(mount.get(), direct));
    }
  });
  EXPECT_EQ(read_all(mount.get()), 0);
  for (int again = 0; again < 10; ++again) {
    forget_files(mount.get());
    EXPECT_EQ(read_all(mount.get()), 0);
  }
}

TEST_F(ErofsBackendTest, WithoutTheStoreAnIncompleteLayerWaitsThenFailsAndWorksAgainWithIt) {
  const Process holder = start_holder();
  wait_for_holder();
  const Process imagefs = start_imagefs(seconds(2));
  const UniqueFd mount = must(mounted());
  hide_store();
  EXPECT_EQ(read_at(mount.get(), "file-3").error, EIO);
  show_store();
  EXPECT_EQ(read_all(mount.get()), 0);
}

TEST_F(ErofsBackendTest, AStartWithAProfileReadsWhatEarlierStartsReadFromTheBundleAlone) {
  const std::vector<std::string> read_at_start{"file-3", "file-9", "file-15"};
  const auto read_them = [this, &read_at_start](int mount) {
    for (const auto& name : read_at_start) EXPECT_TRUE(read_at(mount, name).bytes == contents[name]) << name;
  };
  const LayerRequest request{.workspace = "acme",
                             .digest = layer,
                             .profile = "digits.model_predict",
                             .deadline = Deadline::after(mono_now(), seconds(30))};
  const ImagefsClient client(folder.path() / "imagefs.sock");
  {
    const Process holder = start_holder();
    wait_for_holder();
    const Process imagefs = start_imagefs();
    const UniqueFd mount = must(client.layer(request));
    read_them(mount.get());
    EXPECT_THAT(must(client.trace(request)), ::testing::HasSubstr("file-3"));
    must(client.recorded(request));
    for (int i = 0; i < 6000 && must(store->list("ws/acme/profiles/")).empty(); ++i) {
      std::this_thread::sleep_for(milliseconds(10));
    }
  }
  ASSERT_EQ(must(store->list("ws/acme/bundles/")).size(), 1U);
  fs::remove_all(folder.path() / "imagefs");
  fs::rename(folder.path() / "store/ws/acme/packs", folder.path() / "packs-away");
  const Process holder = start_holder();
  wait_for_holder();
  const Process imagefs = start_imagefs();
  read_them(must(client.layer(request)).get());
}

TEST_F(ErofsBackendTest, BytesThatRottedWhileHearthWasStoppedAreMendedNotServed) {
  {
    const Process holder = start_holder();
    wait_for_holder();
    const Process imagefs = start_imagefs();
    ASSERT_EQ(read_all(must(mounted()).get()), 0);
  }
  for (const auto& file : data_files()) {
    const UniqueFd fd = must(open_file(file, O_RDWR));
    for (off_t at = 100'000; at < static_cast<off_t>(fs::file_size(file)); at += 1'500'000) {
      char byte = 0;
      if (::pread(fd.get(), &byte, 1, at) != 1) break;
      byte = static_cast<char>(byte ^ 0x40);
      ASSERT_EQ(::pwrite(fd.get(), &byte, 1, at), 1);
    }
  }
  const Process holder = start_holder();
  wait_for_holder();
  const Process imagefs = start_imagefs();
  EXPECT_EQ(read_all(must(mounted()).get()), 0);
}

TEST_F(ErofsBackendTest, BytesThatRotUnderAMountedCompleteLayerAreMendedAndTheWrongPageIsForgotten) {
  const Process holder = start_holder();
  wait_for_holder();
  const Process imagefs = start_imagefs(seconds(30), seconds(1));
  const UniqueFd mount = must(mounted());
  ASSERT_EQ(read_all(mount.get()), 0);
  eventually([this] { return !marks(); });
  rot();
  forget_files(mount.get());
  for (const auto& [name, bytes] : contents) read_at(mount.get(), name);  // the wrong page is in the page cache now
  eventually([this] { return metric("hearth_imagefs_mended_total") >= 1 && !marks(); });
  EXPECT_EQ(metric("hearth_imagefs_rot_total"), 1);
  EXPECT_EQ(read_all(mount.get()), 0);
}

TEST_F(ErofsBackendTest, WhatRottedIsNotServedWhileItCannotBeFetchedAgain) {
  rot_while_the_store_is_away({});
}

TEST_F(ErofsBackendTest, WhatRottedIsNotServedToDirectReadsEither) {
  rot_while_the_store_is_away([](int mount) { must(set_erofs_direct_reads(mount, true)); });
}

}  // namespace

}  // namespace hearth::mount
