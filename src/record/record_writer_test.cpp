#include "record/record_writer.hpp"

#include "base/digest.hpp"
#include "base/file.hpp"
#include "base/random_id.hpp"
#include "blob/object_store.hpp"
#include "record/record_reader.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

namespace hearth::record {
namespace {

using std::chrono::milliseconds;

/// Lets tests make the store unreachable.
class SwitchedStore final : public blob::ObjectStore {
 public:
  explicit SwitchedStore(std::shared_ptr<blob::ObjectStore> inner) : inner_(std::move(inner)) {}
  Result<std::string> get(std::string_view key) override { return inner_->get(key); }
  Result<std::string> get_range(std::string_view key, uint64_t offset, uint64_t length) override {
    return inner_->get_range(key, offset, length);
  }
  Result<blob::Created> create(std::string_view key, std::string_view bytes) override {
    if (failing) return fail(ErrorCode::unavailable, "the store is away");
    return inner_->create(key, bytes);
  }
  Result<blob::Created> create_from_file(std::string_view key, const std::filesystem::path& path) override {
    return inner_->create_from_file(key, path);
  }
  Result<std::optional<uint64_t>> size(std::string_view key) override { return inner_->size(key); }
  Result<std::vector<std::string>> list(std::string_view prefix) override { return inner_->list(prefix); }
  Result<> remove(std::string_view key) override { return inner_->remove(key); }

  std::atomic<bool> failing = false;

 private:
  std::shared_ptr<blob::ObjectStore> inner_;
};

RequestRecord record_number(uint64_t number, std::string_view workspace = "default") {
  RequestRecord record;
  record.id = "r" + std::to_string(number);
  record.workspace = workspace;
  record.model = "digits";
  record.branch = "main";
  record.version = 1;
  record.started = wall_now();
  record.status = 200;
  record.results = "[" + std::to_string(number) + "]";
  return record;
}

class RecordWriterTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = std::filesystem::temp_directory_path() / ("hearth-record-" + random_id());
    std::filesystem::create_directories(root_);
    store_ = std::make_shared<SwitchedStore>(*blob::open_store((root_ / "store").string(), blob::IfMissing::create));
    config_.directory = root_ / "spool";
    config_.keep_uploaded = milliseconds(0);
    config_.retry_every = milliseconds(50);
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  std::unique_ptr<RecordWriter> open() {
    auto writer = RecordWriter::open(config_, store_);
    EXPECT_TRUE(writer) << writer.error().message;
    return writer ? std::move(*writer) : nullptr;
  }

  RecordReader reader() { return {config_.directory, store_}; }

  /// Ids of all records that can be read, with repetitions.
  std::multiset<std::string> ids(const std::string& workspace = "default") {
    RecordQuery query{.workspace = workspace};
    query.limit = 1'000'000;
    std::multiset<std::string> found;
    auto lines = reader().query(query);
    EXPECT_TRUE(lines) << lines.error().message;
    if (!lines) return found;
    for (const std::string& line : *lines) found.insert(nlohmann::json::parse(line)["id"]);
    return found;
  }

  uint64_t requests_counted(const std::string& workspace = "default") {
    auto totals = reader().usage(workspace, std::nullopt);
    EXPECT_TRUE(totals) << totals.error().message;
    uint64_t requests = 0;
    for (const UsageTotal& total : *totals) requests += total.requests;
    return requests;
  }

  std::filesystem::path root_;
  std::shared_ptr<SwitchedStore> store_;
  WriterConfig config_;
};

TEST_F(RecordWriterTest, RecordsAreReadLiveAndAfterUploadOnce) {
  auto writer = open();
  for (uint64_t i = 0; i < 10; ++i) writer->append(record_number(i));
  ASSERT_TRUE(writer->flush());
  EXPECT_EQ(ids().size(), 10u);
  EXPECT_EQ(requests_counted(), 10u);
  ASSERT_TRUE(writer->upload());
  EXPECT_EQ(ids().size(), 10u);
  EXPECT_EQ(requests_counted(), 10u);
  EXPECT_EQ(store_->list("logs/default/")->size(), 1u);
  EXPECT_EQ(store_->list("usage/default/")->size(), 1u);
  for (uint64_t i = 10; i < 15; ++i) writer->append(record_number(i));
  ASSERT_TRUE(writer->flush());
  EXPECT_EQ(ids().size(), 15u);
  EXPECT_EQ(requests_counted(), 15u);
}

TEST_F(RecordWriterTest, WorkspacesAreKeptApart) {
  auto writer = open();
  writer->append(record_number(1, "default"));
  writer->append(record_number(2, "other"));
  ASSERT_TRUE(writer->upload());
  EXPECT_EQ(ids("default"), (std::multiset<std::string>{"r1"}));
  EXPECT_EQ(ids("other"), (std::multiset<std::string>{"r2"}));
  EXPECT_EQ(requests_counted("other"), 1u);
}

TEST_F(RecordWriterTest, QueriesFilterAndGiveTheNewest) {
  auto writer = open();
  for (uint32_t i = 0; i < 20; ++i) {
    RequestRecord record = record_number(i);
    record.version = i % 2 + 1;
    record.model = i < 10 ? "digits" : "houses";
    record.started = WallTime(std::chrono::seconds(1'700'000'000 + i));
    writer->append(record);
    if (i == 7) ASSERT_TRUE(writer->upload());
  }
  ASSERT_TRUE(writer->flush());
  RecordQuery query{.workspace = "default", .model = "digits"};
  query.version = 2;
  query.limit = 3;
  auto lines = reader().query(query);
  ASSERT_TRUE(lines);
  std::vector<std::string> found;
  for (const auto& line : *lines) found.push_back(nlohmann::json::parse(line)["id"]);
  EXPECT_THAT(found, testing::ElementsAre("r5", "r7", "r9"));
  query.since = WallTime(std::chrono::seconds(1'700'000'008));
  EXPECT_EQ(reader().query(query)->size(), 1u);
}

TEST_F(RecordWriterTest, AFollowerSeesEachRecordOnceAcrossSegments) {
  auto writer = open();
  writer->append(record_number(0));
  ASSERT_TRUE(writer->flush());
  auto position = reader().position();
  ASSERT_TRUE(position);
  config_.keep_uploaded = milliseconds(10'000);
  std::vector<std::string> seen;
  const RecordQuery query{.workspace = "default"};
  for (uint64_t i = 1; i <= 6; ++i) {
    writer->append(record_number(i));
    ASSERT_TRUE(writer->flush());
    auto lines = reader().follow(query, *position);
    ASSERT_TRUE(lines);
    for (const auto& line : *lines) seen.push_back(nlohmann::json::parse(line)["id"]);
    if (i == 3) ASSERT_TRUE(writer->upload());
  }
  EXPECT_THAT(seen, testing::ElementsAre("r1", "r2", "r3", "r4", "r5", "r6"));
}

TEST_F(RecordWriterTest, KillingTheProcessLosesAndDoublesNothing) {
  for (int round = 0; round < 4; ++round) {
    int pipe[2];
    ASSERT_EQ(::pipe(pipe), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      config_.segment_bytes = 64 * 1024;  // many rotations and uploads on the way
      config_.flush_every = milliseconds(1);
      auto writer = RecordWriter::open(config_, store_);
      if (!writer) ::_exit(1);
      for (uint64_t i = 0;; ++i) {
        (*writer)->append(record_number(static_cast<uint64_t>(round) * 10'000'000 + i));
        if (::write(pipe[1], &i, sizeof i) != sizeof i) ::_exit(1);  // "answered": the client has seen it
      }
    }
    ::close(pipe[1]);
    uint64_t last = 0;
    while (last < 2'000 + static_cast<uint64_t>(round) * 777)
      ASSERT_EQ(::read(pipe[0], &last, sizeof last), ssize_t{8});
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    uint64_t number = 0;
    while (::read(pipe[0], &number, sizeof number) == ssize_t{8}) last = number;
    ::close(pipe[0]);

    auto writer = open();
    ASSERT_TRUE(writer->upload());
    const auto found = ids();
    const std::set<std::string> unique(found.begin(), found.end());
    EXPECT_EQ(unique.size(), found.size()) << "doubled";
    for (uint64_t i = 0; i <= last; ++i) {
      ASSERT_TRUE(unique.contains("r" + std::to_string(static_cast<uint64_t>(round) * 10'000'000 + i)))
          << i << " of " << last;
    }
    EXPECT_EQ(requests_counted(), found.size());
  }
}

TEST_F(RecordWriterTest, AnUnreachableStoreKeepsSegmentsUntilItIsBack) {
  store_->failing = true;
  auto writer = open();
  for (uint64_t i = 0; i < 5; ++i) writer->append(record_number(i));
  EXPECT_FALSE(writer->upload());
  EXPECT_EQ(ids().size(), 5u);
  writer.reset();
  writer = open();
  EXPECT_EQ(ids().size(), 5u);
  store_->failing = false;
  ASSERT_TRUE(writer->upload());
  EXPECT_EQ(ids().size(), 5u);
  EXPECT_EQ(requests_counted(), 5u);
}

TEST_F(RecordWriterTest, ASpoolThatGrowsTooLargeIsReducedToItsUsage) {
  store_->failing = true;
  config_.segment_bytes = 10'000;
  config_.spool_bytes = 30'000;
  auto writer = open();
  for (uint64_t i = 0; i < 1'000; ++i) {
    writer->append(record_number(i));
    if (i % 20 == 0) ASSERT_TRUE(writer->flush());
  }
  EXPECT_FALSE(writer->upload());
  EXPECT_GT(writer->stats().segments_reduced, 0u);
  EXPECT_LT(ids().size(), 1'000u);
  EXPECT_EQ(requests_counted(), 1'000u);
  store_->failing = false;
  ASSERT_TRUE(writer->upload());
  EXPECT_EQ(requests_counted(), 1'000u);
}

TEST_F(RecordWriterTest, UsageIsWholeWhileTheSpoolIsReduced) {
  store_->failing = true;
  config_.segment_bytes = 1'000;
  config_.spool_bytes = 2'000;
  config_.retry_every = milliseconds(1);
  auto writer = open();
  for (uint64_t i = 0; i < 300; ++i) {
    writer->append(record_number(i));
    ASSERT_TRUE(writer->flush());
    ASSERT_EQ(requests_counted(), i + 1);
  }
  EXPECT_FALSE(writer->upload());
  EXPECT_GT(writer->stats().segments_reduced, 10u) << "otherwise nothing was tested";
}

TEST_F(RecordWriterTest, StoredLogsAreBoundedAndUsageIsNot) {
  config_.log_bytes_per_workspace = 3'000;
  auto writer = open();
  for (uint64_t i = 0; i < 12; ++i) {
    RequestRecord record = record_number(i);
    record.stdout_text = to_hex(random_bytes(500));
    writer->append(record);
    ASSERT_TRUE(writer->upload());
  }
  uint64_t bytes = 0;
  for (const std::string& key : *store_->list("logs/default/")) bytes += store_->size(key)->value();
  EXPECT_LE(bytes, 3'000u);
  const auto left = ids();
  EXPECT_TRUE(left.contains("r11"));
  EXPECT_FALSE(left.contains("r0"));
  EXPECT_EQ(requests_counted(), 12u);
}

TEST_F(RecordWriterTest, ANewProcessNeverReusesTheNameOfAStoredSegment) {
  for (uint64_t i = 0; i < 5; ++i) {
    auto writer = open();
    writer->append(record_number(i));
    ASSERT_TRUE(writer->upload());
  }
  EXPECT_EQ(ids().size(), 5u);
  EXPECT_EQ(requests_counted(), 5u);
}

TEST_F(RecordWriterTest, ASecondWriterIsRefused) {
  auto writer = open();
  auto second = RecordWriter::open(config_, store_);
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message, testing::HasSubstr("another router"));
}

TEST_F(RecordWriterTest, AppendingFromManyThreadsKeepsEveryLineWhole) {
  auto writer = open();
  {
    std::vector<std::jthread> threads;
    for (uint64_t t = 0; t < 4; ++t) {
      threads.emplace_back([&writer, t] {
        for (uint64_t i = 0; i < 500; ++i) writer->append(record_number(t * 1'000 + i));
      });
    }
  }
  ASSERT_TRUE(writer->flush());
  const auto found = ids();
  EXPECT_EQ(found.size(), 2'000u);
  EXPECT_EQ(std::set<std::string>(found.begin(), found.end()).size(), 2'000u);
}

/// A spool on a file system of its own, small enough to fill.
class FullDiskTest : public RecordWriterTest {
 protected:
  void SetUp() override {
    RecordWriterTest::SetUp();
    std::filesystem::create_directories(config_.directory);
    if (::mount("tmpfs", config_.directory.c_str(), "tmpfs", 0, "size=12m") != 0) GTEST_SKIP() << "needs root";
    store_->failing = true;
  }
  void TearDown() override {
    ::umount2(config_.directory.c_str(), MNT_DETACH);
    RecordWriterTest::TearDown();
  }
  /// Leaves `free_bytes` of the disk.
  void fill(uint64_t free_bytes) {
    const auto space = std::filesystem::space(config_.directory);
    ASSERT_GT(space.available, free_bytes);
    std::ofstream(config_.directory / "ballast") << std::string(space.available - free_bytes, 'x');
  }
};

TEST_F(FullDiskTest, DropsTextsFirstAndKeepsUsage) {
  auto writer = open();
  writer->append(record_number(0));
  ASSERT_TRUE(writer->flush());
  fill(64 * 1024);
  for (uint64_t i = 1; i <= 500; ++i) {
    RequestRecord record = record_number(i);
    record.stdout_text = std::string(2'000, 'o');
    writer->append(record);
    if (i % 100 == 0) ASSERT_TRUE(writer->flush());
  }
  ASSERT_TRUE(writer->flush());
  EXPECT_TRUE(writer->stats().disk_full);
  EXPECT_GT(writer->stats().without_text, 0u);

  std::filesystem::remove(config_.directory / "ballast");
  writer->append(record_number(501));
  ASSERT_TRUE(writer->flush());
  EXPECT_FALSE(writer->stats().disk_full);
  store_->failing = false;
  ASSERT_TRUE(writer->upload());
  EXPECT_EQ(requests_counted(), 502u);
}

TEST_F(FullDiskTest, UsageOutlivesTheProcessWhileTheDiskIsFull) {
  auto writer = open();
  fill(0);
  for (uint64_t i = 0; i < 300; ++i) writer->append(record_number(i));
  ASSERT_TRUE(writer->flush());
  writer.reset();
  std::filesystem::remove(config_.directory / "ballast");
  writer = open();
  writer->append(record_number(300));
  ASSERT_TRUE(writer->flush());
  store_->failing = false;
  ASSERT_TRUE(writer->upload());
  EXPECT_EQ(requests_counted(), 301u);
}

}  // namespace
}  // namespace hearth::record
