#include "blob/directory_store.hpp"

#include "base/random_id.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

namespace hearth::blob {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class DirectoryStoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = std::filesystem::temp_directory_path() / ("hearth-blob-" + random_id());
    std::filesystem::create_directory(root_);
    store_ = open_store(root_.string()).value();
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  std::filesystem::path root_;
  std::shared_ptr<ObjectStore> store_;
};

TEST_F(DirectoryStoreTest, GivesBackWhatWasCreated) {
  const std::string bytes("zero \0 byte", 11);
  EXPECT_EQ(store_->create("ws/default/x", bytes).value(), Created::yes);
  EXPECT_EQ(store_->get("ws/default/x").value(), bytes);
  EXPECT_EQ(store_->size("ws/default/x").value(), 11u);
  EXPECT_EQ(store_->get_range("ws/default/x", 5, 3).value(), bytes.substr(5, 3));
}

TEST_F(DirectoryStoreTest, NeverChangesAnObject) {
  EXPECT_EQ(store_->create("k", "first").value(), Created::yes);
  EXPECT_EQ(store_->create("k", "second").value(), Created::no);
  EXPECT_EQ(store_->get("k").value(), "first");
}

TEST_F(DirectoryStoreTest, CreatesFromAFile) {
  const auto source = root_.string() + "-source";
  std::ofstream(source) << std::string(3'000'000, 'q');
  EXPECT_EQ(store_->create_from_file("packs/p", source).value(), Created::yes);
  EXPECT_EQ(store_->create_from_file("packs/p", source).value(), Created::no);
  EXPECT_EQ(store_->size("packs/p").value(), 3'000'000u);
  EXPECT_EQ(store_->create_from_file("packs/q", source + "-absent").error().code, ErrorCode::not_found);
  EXPECT_EQ(store_->size("packs/q").value(), std::nullopt);
  std::filesystem::remove(source);
}

TEST_F(DirectoryStoreTest, AnswersNotFoundForWhatIsNotThere) {
  EXPECT_EQ(store_->get("a/b").error().code, ErrorCode::not_found);
  EXPECT_EQ(store_->get_range("a/b", 0, 1).error().code, ErrorCode::not_found);
  EXPECT_EQ(store_->size("a/b").value(), std::nullopt);
  EXPECT_TRUE(store_->remove("a/b"));
  ASSERT_TRUE(store_->create("a", "file"));
  EXPECT_EQ(store_->get("a/b").error().code, ErrorCode::not_found);
  EXPECT_EQ(store_->size("a/b").value(), std::nullopt);
  ASSERT_TRUE(store_->create("d/e", ""));
  EXPECT_EQ(store_->get("d").error().code, ErrorCode::not_found) << "a folder is no object";
}

TEST_F(DirectoryStoreTest, ListsObjectsWithTheirSizes) {
  for (const char* key : {"ws/a/x", "ws/a/yy", "ws/b/z", "shared/s"}) ASSERT_TRUE(store_->create(key, key));
  EXPECT_THAT(store_->list_objects("ws/a/").value(), ElementsAre(ObjectInfo{"ws/a/x", 6}, ObjectInfo{"ws/a/yy", 7}));
  EXPECT_THAT(store_->list_objects("ws/a/y").value(), ElementsAre(ObjectInfo{"ws/a/yy", 7}));
  EXPECT_THAT(store_->list_objects("ws/c/").value(), IsEmpty());
  EXPECT_EQ(store_->ObjectStore::list_objects("ws/").value(), store_->list_objects("ws/").value())
      << "what stores without sizes in their listings do";
}

TEST_F(DirectoryStoreTest, NamesTheFoldersBelowAFolder) {
  for (const char* key : {"ws/b/c/d", "ws/a/x", "ws/a/y", "ws/file"}) ASSERT_TRUE(store_->create(key, ""));
  EXPECT_THAT(store_->folders("ws/").value(), ElementsAre("a", "b"));
  EXPECT_THAT(store_->folders("").value(), ElementsAre("ws"));
  EXPECT_THAT(store_->folders("ws/b/").value(), ElementsAre("c"));
  EXPECT_THAT(store_->folders("absent/").value(), IsEmpty());
  EXPECT_EQ(store_->ObjectStore::folders("ws/").value(), store_->folders("ws/").value());
}

TEST_F(DirectoryStoreTest, RefusesARangeBeyondTheEnd) {
  ASSERT_TRUE(store_->create("k", "12345"));
  EXPECT_EQ(store_->get_range("k", 0, 5).value(), "12345");
  EXPECT_EQ(store_->get_range("k", 5, 0).value(), "");
  EXPECT_EQ(store_->get_range("k", 3, 3).error().code, ErrorCode::corrupt);
  EXPECT_EQ(store_->get_range("k", 0, ~uint64_t{0}).error().code, ErrorCode::corrupt);
}

TEST_F(DirectoryStoreTest, ListsByPrefixSorted) {
  for (const char* key : {"a/2", "a/10", "a/b/c", "ab", "b/1", "a.d"}) ASSERT_TRUE(store_->create(key, "x"));
  EXPECT_THAT(store_->list("").value(), ElementsAre("a.d", "a/10", "a/2", "a/b/c", "ab", "b/1"));
  EXPECT_THAT(store_->list("a").value(), ElementsAre("a.d", "a/10", "a/2", "a/b/c", "ab"));
  EXPECT_THAT(store_->list("a/").value(), ElementsAre("a/10", "a/2", "a/b/c"));
  EXPECT_THAT(store_->list("a/b").value(), ElementsAre("a/b/c"));
  EXPECT_THAT(store_->list("a/1").value(), ElementsAre("a/10"));
  EXPECT_THAT(store_->list("none/").value(), IsEmpty());
  EXPECT_THAT(store_->list("ab/").value(), IsEmpty());
  ASSERT_TRUE(store_->remove("a/10"));
  EXPECT_THAT(store_->list("a/1").value(), IsEmpty());
}

TEST_F(DirectoryStoreTest, RefusesKeysThatLeaveTheStore) {
  for (const std::string key :
       {"", "/etc/passwd", "..", "../x", "a/../b", "a//b", "a/", "./a", "a/.", ".tmp-x", "a/.tmp-1"}) {
    EXPECT_EQ(store_->create(key, "x").error().code, ErrorCode::invalid_argument) << key;
    EXPECT_EQ(store_->get(key).error().code, ErrorCode::invalid_argument) << key;
  }
  EXPECT_EQ(store_->get(std::string("a\0b", 3)).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(store_->get(std::string(256, 'x')).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(store_->list("../").error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(store_->list("/").error().code, ErrorCode::invalid_argument);
  EXPECT_TRUE(store_->create("..data/...", "fine")) << "only '.' and '..' themselves are special";
}

TEST_F(DirectoryStoreTest, DoesNotFollowALinkOrHangOnAFifo) {
  std::filesystem::create_symlink("/etc/passwd", root_ / "link");
  EXPECT_FALSE(store_->get("link"));
  ASSERT_EQ(::mkfifo((root_ / "fifo").c_str(), 0600), 0);
  EXPECT_EQ(store_->get("fifo").error().code, ErrorCode::corrupt);
  EXPECT_THAT(store_->list("").value(), IsEmpty());
}

TEST_F(DirectoryStoreTest, AMissingStoreIsUnavailableAndNeverMade) {
  std::filesystem::remove_all(root_);
  EXPECT_EQ(store_->get("k").error().code, ErrorCode::unavailable);
  EXPECT_EQ(store_->size("k").error().code, ErrorCode::unavailable);
  EXPECT_EQ(store_->list("").error().code, ErrorCode::unavailable);
  EXPECT_EQ(store_->list("a/").error().code, ErrorCode::unavailable);
  EXPECT_EQ(store_->create("k", "x").error().code, ErrorCode::unavailable);
  EXPECT_EQ(store_->create("a/k", "x").error().code, ErrorCode::unavailable);
  EXPECT_EQ(store_->remove("k").error().code, ErrorCode::unavailable);
  EXPECT_FALSE(std::filesystem::exists(root_));
  EXPECT_EQ(open_store(root_.string()).error().code, ErrorCode::unavailable);
  EXPECT_TRUE(open_store((root_ / "new").string(), IfMissing::create));
}

TEST_F(DirectoryStoreTest, AnUnknownKindOfStoreIsRefusedWithTheKindsThereAre) {
  const auto refused = open_store("http://x");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::invalid_argument);
  EXPECT_THAT(refused.error().message, HasSubstr("s3://BUCKET"));
  EXPECT_EQ(open_store("").error().code, ErrorCode::invalid_argument);
}

TEST_F(DirectoryStoreTest, RunAsRootGivesEverythingToTheOwnerOfTheStore) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  ASSERT_EQ(::chown(root_.c_str(), 61700, 61701), 0);
  auto store = open_store(root_.string()).value();
  ASSERT_EQ(store->create("ws/w/k", "x").value(), Created::yes);
  for (const auto& [path, mode] :
       {std::pair{root_ / "ws", 0750u}, {root_ / "ws/w", 0750u}, {root_ / "ws/w/k", 0640u}}) {
    struct stat info{};
    ASSERT_EQ(::stat(path.c_str(), &info), 0);
    EXPECT_EQ(info.st_uid, 61700u) << path;
    EXPECT_EQ(info.st_gid, 61701u) << path;
    EXPECT_EQ(info.st_mode & 07777u, mode) << path;
  }
}

TEST_F(DirectoryStoreTest, AFullDiskIsExhaustedSaysSoAndLeavesNothing) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to mount a small tmpfs";
  if (::mount("tmpfs", root_.c_str(), "tmpfs", 0, "size=64k") != 0) GTEST_SKIP() << "no tmpfs here";
  auto store = open_store(root_.string()).value();
  const auto result = store->create("big", std::string(1'000'000, 'x'));
  const auto left = store->list("");
  ::umount(root_.c_str());
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::exhausted);
  EXPECT_THAT(result.error().message, HasSubstr("free space"));
  EXPECT_THAT(left.value(), IsEmpty());
}

TEST_F(DirectoryStoreTest, OfManyThreadsExactlyOneCreates) {
  constexpr int kThreads = 16;
  constexpr int kKeys = 20;
  std::array<std::atomic<int>, kKeys> winners{};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([this, t, &winners] {
        for (size_t k = 0; k < kKeys; ++k) {
          const auto made =
              store_->create("race/" + std::to_string(k) + "/x", std::string(1000, static_cast<char>('a' + t)));
          if (made.value() == Created::yes) ++winners[k];
          const std::string seen = store_->get("race/" + std::to_string(k) + "/x").value();
          EXPECT_EQ(seen, std::string(1000, seen.at(0))) << "a part or a mixture was visible";
        }
      });
    }
  }
  for (const auto& count : winners) EXPECT_EQ(count, 1);
}

TEST_F(DirectoryStoreTest, OfManyProcessesExactlyOneCreates) {
  constexpr int kProcesses = 8;
  constexpr int kKeys = 25;
  std::vector<pid_t> children;
  for (int p = 0; p < kProcesses; ++p) {
    const pid_t child = ::fork();
    if (child == 0) {
      for (int k = 0; k < kKeys; ++k) {
        const std::string key = "folder" + std::to_string(k) + "/generation/" + std::to_string(k);
        const auto made = store_->create(key, std::to_string(p));
        if (!made) ::_exit(1);
        // Every winner signs in a key of its own.
        if (*made == Created::yes && !store_->create("won/" + std::to_string(k) + "." + std::to_string(p), ""))
          ::_exit(2);
      }
      ::_exit(0);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  for (int k = 0; k < kKeys; ++k) {
    EXPECT_EQ(store_->list("won/" + std::to_string(k) + ".").value().size(), 1u) << k;
  }
}

}  // namespace
}  // namespace hearth::blob
