// Readers that compare every byte they read, through real mounts of both lazy back ends, while the store and the disk
// below fail. They wait, or get an error where nothing else is left, and never a wrong byte. What happens when
// processes are killed is erofs_backend_test.cpp's, fuse_backend_test.cpp's and tests/chaos'.
#include "base/file.hpp"
#include "mount/testing/cache_fixture.hpp"
#include "mount/testing/child_process.hpp"
#include "mount/testing/lazy_backends.hpp"
#include "mount/testing/loop_disk.hpp"
#include "mount/testing/scripted_store.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace hearth::mount {

namespace {

namespace fs = std::filesystem;
using testing::must;
using testing::ScriptedStore;

constexpr const char* kWorkspace = "acme";
constexpr int kReaders = 6;

/// What all files were read as.
struct Reading {
  int right = 0;
  int failed = 0;  // EIO or ENOSPC
};

class LazyFailure : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const bool possible =
        std::string(GetParam()) == "erofs" ? testing::lazy_erofs_is_possible() : testing::lazy_fuse_is_possible();
    if (!possible) GTEST_SKIP() << "this host cannot mount so";
    for (uint32_t i = 0; i < 16; ++i) {
      const size_t size = (i % 4 + 1) * 400'000 + i * 4'001;
      contents["file-" + std::to_string(i)] = i % 4 == 3 ? testing::prose(size, i) : testing::noise(size, i);
    }
    index = layers.build(contents, kWorkspace);
    store = std::make_shared<ScriptedStore>(layers.store());
  }
  void TearDown() override { backend.reset(); }

  void start(Config config = {}) {
    config.dir = folder.path() / "imagefs";
    config.backend = GetParam();
    backend = testing::open_lazy(config, store);
  }
  UniqueFd mounted(uint32_t id_base = 0) const {
    return must(backend->mount_layer({.workspace = kWorkspace, .digest = index->digest(), .id_base = id_base},
                                     [](const LayerProgress&) {}));
  }

  /// Every file once, from the begin to the end, beginning with a certain one.
  Reading read_all(int mount, size_t first = 0) const {
    Reading reading;
    for (size_t i = 0; i < contents.size(); ++i) {
      const auto& [name, bytes] = *std::next(contents.begin(), static_cast<ptrdiff_t>((first + i) % contents.size()));
      std::string seen;
      const int error = read_file_of(mount, name, seen);
      if (error == 0 && seen == bytes) {
        ++reading.right;
      } else if (error == EIO || error == ENOSPC) {
        ++reading.failed;
      } else {
        ADD_FAILURE() << name << ": " << (error != 0 ? std::strerror(error) : "wrong bytes");
      }
    }
    return reading;
  }
  /// By several readers at once.
  Reading read_by_many(int mount) const {
    std::vector<std::future<Reading>> readers;
    for (size_t i = 0; i < kReaders; ++i) {
      readers.push_back(std::async(std::launch::async, [this, mount, i] { return read_all(mount, i * 3); }));
    }
    Reading all;
    for (auto& reader : readers) {
      const Reading one = reader.get();
      all.right += one.right;
      all.failed += one.failed;
    }
    return all;
  }
  int all_of(int readers) const { return readers * static_cast<int>(contents.size()); }

  static int read_file_of(int mount, const std::string& name, std::string& bytes) {
    const UniqueFd file(::openat(mount, name.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) return errno;
    std::string piece(300'000, '\0');
    for (;;) {
      const ssize_t size = ::read(file.get(), piece.data(), piece.size());
      if (size < 0) return errno;
      if (size == 0) return 0;
      bytes.append(piece, 0, static_cast<size_t>(size));
    }
  }

  uint64_t packs_bytes() const {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < index->pack_count(); ++i) bytes += index->pack(i).size;
    return bytes;
  }
  uint64_t fetched_bytes() const {
    uint64_t bytes = 0;
    for (const auto& read : store->reads()) bytes += read.length;
    return bytes;
  }
  std::vector<fs::path> data_files(const fs::path& below) const {
    std::vector<fs::path> found;
    for (const auto& entry : fs::recursive_directory_iterator(below)) {
      if (entry.path().extension() == ".data") found.push_back(entry.path());
    }
    return found;
  }
  /// So that the next read comes from the disk. Dirty pages are written first.
  void drop_page_caches(int mount, const fs::path& cache) const {
    for (const auto& [name, bytes] : contents) {
      const UniqueFd file(::openat(mount, name.c_str(), O_RDONLY | O_CLOEXEC));
      ::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED);
    }
    for (const auto& path : data_files(cache)) {
      const UniqueFd file = must(open_file(path, O_RDONLY));
      ::syncfs(file.get());
      ::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED);
    }
  }

  testing::TemporaryFolder folder{"/var/tmp"};  // a disk: tmpfs raises no events
  testing::LayerStore layers;
  testing::Files contents;
  std::shared_ptr<const image::LayerIndex> index;
  std::shared_ptr<ScriptedStore> store;
  std::unique_ptr<LayerBackend> backend;
};

/// Damages every byte of a pack at most once: a second read of it is right.
class OnceDamaged {
 public:
  void operator()(const ScriptedStore::Read& read, std::string& bytes) {
    const std::lock_guard lock(mutex_);
    for (const auto& before : damaged_) {
      const bool apart = before.offset + before.length <= read.offset || read.offset + read.length <= before.offset;
      if (before.key == read.key && !apart) return;
    }
    damaged_.push_back(read);
    switch (damaged_.size() % 3) {
      case 0:
        bytes.resize(bytes.size() / 2);
        break;
      case 1:
        bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 0x10);
        break;
      default:
        bytes.clear();
    }
  }
  size_t count() {
    const std::lock_guard lock(mutex_);
    return damaged_.size();
  }

 private:
  std::mutex mutex_;
  std::vector<ScriptedStore::Read> damaged_;
};

TEST_P(LazyFailure, FlippedTruncatedAndEmptyAnswersOfTheStoreAreNeverSeen) {
  OnceDamaged damage;
  store->damage = std::ref(damage);
  start();
  const UniqueFd mount = mounted();
  EXPECT_EQ(read_by_many(mount.get()).right, all_of(kReaders));
  EXPECT_GE(damage.count(), 2U);
}

TEST_P(LazyFailure, ASlowStoreCostsTimeOnly) {
  std::atomic<int> reads{0};
  store->before = [&reads](const ScriptedStore::Read&) -> Result<> {
    std::this_thread::sleep_for(milliseconds(reads++ % 5 == 0 ? 400 : 40));
    return {};
  };
  start();
  EXPECT_EQ(read_by_many(mounted().get()).right, all_of(kReaders));
}

/// Gone, or forbidding, until it is told to be back: readers wait meanwhile, and none of them is told of it.
TEST_P(LazyFailure, AStoreThatIsGoneOrForbidsForAWhileCostsTimeOnly) {
  std::atomic<bool> away{true};
  std::atomic<int> refused{0};
  store->before = [&away, &refused](const ScriptedStore::Read&) -> Result<> {
    if (!away) return {};
    if (refused++ % 2 == 0) return fail(ErrorCode::unavailable, "simulated: no route to the store");
    return fail(ErrorCode::denied, "simulated: 403, the token has expired");
  };
  start();
  const UniqueFd mount = mounted();
  auto reading = std::async(std::launch::async, [this, &mount] { return read_by_many(mount.get()); });
  while (refused < 20) std::this_thread::sleep_for(milliseconds(10));
  EXPECT_EQ(reading.wait_for(milliseconds(0)), std::future_status::timeout) << "who reads waits";
  away = false;
  EXPECT_EQ(reading.get().right, all_of(kReaders));
}

TEST_P(LazyFailure, AReaderThatIsKilledWhileItWaitsLeavesNoZerosBehind) {
  const auto latch = std::make_shared<testing::Latch>();  // what is completed in the background passes it, too
  store->before = [latch](const ScriptedStore::Read&) -> Result<> {
    latch->pass();
    return {};
  };
  start();
  const UniqueFd mount = mounted();
  const int fd = mount.get();
  testing::ChildProcess reader([fd] {
    std::string bytes;
    return read_file_of(fd, "file-3", bytes) == 0;
  });
  latch->wait_for(1);
  ::kill(reader.pid(), SIGKILL);
  latch->open();
  EXPECT_TRUE(WIFSIGNALED(reader.end(SIGKILL)));
  EXPECT_EQ(read_by_many(mount.get()).right, all_of(kReaders));
}

TEST_P(LazyFailure, AMountThatFailedIsTriedAgainByTheNextWhoAsks) {
  start();
  const auto object = layers.object("ws/acme/layers/" + index->digest().hex());
  const auto bytes = must(read_file(object));
  fs::remove(object);
  const auto refused =
      backend->mount_layer({.workspace = kWorkspace, .digest = index->digest()}, [](const LayerProgress&) {});
  ASSERT_FALSE(refused.has_value());
  must(write_file_atomic(object, bytes));
  EXPECT_EQ(read_all(mounted().get()).right, all_of(1));
}

TEST_P(LazyFailure, ConcurrentColdStartsOfOneImageCostOneDownload) {
  store->before = [](const ScriptedStore::Read&) -> Result<> {
    std::this_thread::sleep_for(milliseconds(20));  // so that all of them want what is on its way
    return {};
  };
  start();
  std::vector<std::future<int>> starts;
  for (uint32_t i = 0; i < kReaders; ++i) {
    starts.push_back(std::async(std::launch::async, [this, i] {
      const UniqueFd mount = mounted(i % 2 * 65536);  // FUSE: two mounts, one cache
      return read_all(mount.get(), i).right;
    }));
  }
  for (auto& one : starts) EXPECT_EQ(one.get(), all_of(1));
  EXPECT_GT(fetched_bytes(), packs_bytes() / 2);
  EXPECT_LT(fetched_bytes(), packs_bytes() * 5 / 4) << "one download, and small gaps that were read over; not six";
}

TEST_P(LazyFailure, AFullDiskIsAnErrorOfWhatDoesNotFitAndForgottenOnceThereIsRoom) {
  const testing::LoopDisk disk(folder.path(), 64 << 20);
  if (!disk.mounted()) GTEST_SKIP() << "no loop device or no mkfs.ext4";
  const auto ballast = disk.path() / "ballast";
  start({.cache_dirs = {disk.path() / "cache"}});
  const UniqueFd mount = mounted();
  {
    const UniqueFd file = must(open_file(ballast, O_WRONLY | O_CREAT, 0600));
    const auto free = static_cast<off_t>(fs::space(disk.path()).available);
    ASSERT_EQ(::posix_fallocate(file.get(), 0, free - (6 << 20)), 0);  // room for a part of the layer
  }
  const Reading tight = read_by_many(mount.get());
  EXPECT_GT(tight.failed, 0);
  EXPECT_GT(tight.right, 0);
  fs::remove(ballast);
  EXPECT_EQ(read_by_many(mount.get()).right, all_of(kReaders));
}

TEST_P(LazyFailure, ADiskThatFailsIsAnErrorAtMost) {
  const testing::LoopDisk disk(folder.path(), 64 << 20);
  if (!disk.mounted()) GTEST_SKIP() << "no loop device or no mkfs.ext4";
  start({.cache_dirs = {disk.path() / "cache"}});
  const UniqueFd mount = mounted();
  ASSERT_EQ(read_all(mount.get()).right, all_of(1));
  drop_page_caches(mount.get(), disk.path());
  ASSERT_TRUE(disk.fail_behind(8 << 20));
  const Reading reading = read_by_many(mount.get());
  EXPECT_GT(reading.failed, 0) << "otherwise nothing was tested";
  EXPECT_EQ(reading.right + reading.failed, all_of(kReaders));
}

TEST_P(LazyFailure, BytesThatRottedInACompleteLayerWhileHearthWasStoppedAreMendedNotServed) {
  start();
  ASSERT_EQ(read_all(mounted().get()).right, all_of(1));
  backend.reset();  // and its holder
  std::map<fs::path, std::string> before;
  int flipped = 0;
  for (const auto& path : data_files(folder.path())) {
    before[path] = must(read_file(path));
    const UniqueFd file = must(open_file(path, O_WRONLY));
    for (size_t at = 70'000; at < before[path].size(); at += 3'000'000) {
      const char byte = static_cast<char>(before[path][at] ^ 1);
      ASSERT_EQ(::pwrite(file.get(), &byte, 1, static_cast<off_t>(at)), 1);
      ++flipped;
    }
  }
  ASSERT_GT(flipped, 2);
  const uint64_t fetched_before = fetched_bytes();
  start();
  const UniqueFd mount = mounted();
  EXPECT_EQ(read_by_many(mount.get()).right, all_of(kReaders));
  for (const auto& [path, bytes] : before) EXPECT_TRUE(must(read_file(path)) == bytes) << "mended on the disk, too";
  EXPECT_GT(fetched_bytes(), fetched_before);
  EXPECT_LT(fetched_bytes() - fetched_before, packs_bytes() / 2) << "only what was wrong is fetched again";
}

TEST_P(LazyFailure, WrongBytesThatWereReadBeforeTheScrubFoundThemAreForgotten) {
  start({.scrub_every = seconds(1)});
  const UniqueFd mount = mounted();
  ASSERT_EQ(read_all(mount.get()).right, all_of(1));
  const auto all_is_right = [this, &mount] {
    return std::ranges::all_of(contents, [&mount](const auto& content) {
      std::string seen;
      return read_file_of(mount.get(), content.first, seen) == 0 && seen == content.second;
    });
  };
  const auto files = data_files(folder.path() / "imagefs");
  const fs::path largest = *std::ranges::max_element(files, {}, [](const auto& file) { return fs::file_size(file); });
  const std::string before = must(read_file(largest));
  const UniqueFd file = must(open_file(largest, O_WRONLY));
  const size_t at = before.size() / 2 / 4096 * 4096 + 17;
  const char byte = static_cast<char>(before[at] ^ 1);
  drop_page_caches(mount.get(), folder.path() / "imagefs");
  ASSERT_EQ(::pwrite(file.get(), &byte, 1, static_cast<off_t>(at)), 1);
  (void)all_is_right();  // what is wrong is in the page cache now
  ASSERT_EQ(::fdatasync(file.get()), 0);
  for (int i = 0; i < 3000 && !all_is_right(); ++i) std::this_thread::sleep_for(milliseconds(10));
  EXPECT_TRUE(all_is_right());
  EXPECT_TRUE(must(read_file(largest)) == before);
}

INSTANTIATE_TEST_SUITE_P(BackEnds, LazyFailure, ::testing::Values("erofs", "fuse"),
                         [](const auto& param) { return std::string(param.param); });

}  // namespace

}  // namespace hearth::mount
