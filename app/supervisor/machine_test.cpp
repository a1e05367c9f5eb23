#include "supervisor/machine.hpp"

#include "base/file.hpp"
#include "base/random_id.hpp"
#include "supervisor/listen_address.hpp"
#include "supervisor/log_rotation.hpp"
#include "supervisor/ready_probe.hpp"
#include "supervisor/run_state.hpp"

#include <gtest/gtest.h>

#include <sys/stat.h>
#include <unistd.h>

namespace hearth::supervisor {
namespace {

struct TempFolder {
  std::filesystem::path path = std::filesystem::temp_directory_path() / ("machine-test-" + random_id(8));
  TempFolder() { std::filesystem::create_directory(path); }
  ~TempFolder() { std::filesystem::remove_all(path); }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
};

TEST(ListenAddress, ReadsHostAndPort) {
  const auto four = ListenAddress::parse("127.0.0.1:8080").value();
  EXPECT_EQ(four.host, "127.0.0.1");
  EXPECT_EQ(four.port, 8080);
  const auto six = ListenAddress::parse("[::1]:0").value();
  EXPECT_EQ(six.host, "::1");
  EXPECT_EQ(six.port, 0);
  for (const char* wrong : {"", "8080", "host:", ":1", "host:65536", "host:1x", "host:-1"}) {
    EXPECT_EQ(ListenAddress::parse(wrong).error().code, ErrorCode::invalid_argument) << wrong;
  }
}

TEST(ListenAddress, ATakenPortSaysWhatToDo) {
  const UniqueFd first = listen_on({"127.0.0.1", 0}).value();
  const std::string url = url_of_listener(first.get()).value();
  EXPECT_TRUE(url.starts_with("http://127.0.0.1:")) << url;
  const auto port = static_cast<uint16_t>(std::stoi(url.substr(url.rfind(':') + 1)));
  const auto second = listen_on({"127.0.0.1", port});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::already_exists);
  EXPECT_NE(second.error().message.find("--listen"), std::string::npos);
}

TEST(ListenAddress, TheUrlOfAnyAddressIsThisMachine) {
  EXPECT_TRUE(url_of_listener(listen_on({"0.0.0.0", 0}).value().get()).value().starts_with("http://127.0.0.1:"));
}

TEST(ReadyProbe, AListenerThatDoesNotAnswerIsNotReady) {
  const UniqueFd listener = listen_on({"127.0.0.1", 0}).value();
  EXPECT_FALSE(http_ok(url_of_listener(listener.get()).value(), "/readyz"));
  EXPECT_FALSE(http_ok("http://127.0.0.1:1", "/readyz"));
  EXPECT_FALSE(http_ok("nonsense", "/"));
}

TEST(Layout, OneFolderHasOneRunFolderHoweverItIsWritten) {
  const TempFolder temp;
  const Layout plain = locate(temp.path / "d");
  EXPECT_EQ(locate(temp.path / "d/").run, plain.run);
  EXPECT_EQ(locate(temp.path / "x/../d").run, plain.run);
  std::filesystem::create_directory(temp.path / "d");
  std::filesystem::create_symlink(temp.path / "d", temp.path / "link");
  EXPECT_EQ(locate(temp.path / "link").run, plain.run);
  EXPECT_NE(locate(temp.path / "e").run, plain.run);
  EXPECT_EQ(plain.run.string().size(), std::string("/run/hearth/0123456789ab").size());
}

TEST(Layout, KnowsWhoCanReachAFolder) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const TempFolder temp;
  std::filesystem::create_directory(temp.path / "in");
  ASSERT_EQ(::chmod(temp.path.c_str(), 0700), 0);
  EXPECT_FALSE(can_traverse(temp.path / "in", 61700, 61700));
  ASSERT_EQ(::chmod(temp.path.c_str(), 0711), 0);
  EXPECT_TRUE(can_traverse(temp.path / "in", 61700, 61700));
}

TEST(Layout, AStoreOfAnotherUserIsRefusedWithTheWayOut) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const TempFolder temp;
  ASSERT_TRUE(prepare_store(temp.path / "new", Users{}));
  struct stat info{};
  ASSERT_EQ(::stat((temp.path / "new").c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, 61700u);
  ASSERT_TRUE(make_directories(temp.path / "theirs/ws"));
  const auto refused = prepare_store(temp.path / "theirs", Users{});
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("chown -R 61700"), std::string::npos);
}

TEST(RunState, SurvivesTheFile) {
  const TempFolder temp;
  RunState state{.pid = 7, .start_time = 8, .url = "u", .data_dir = "d", .store = "s", .ready = true, .processes = {}};
  state.processes.push_back({.role = "node", .pid = 9, .start_time = 10, .restarts = 2, .started_us = 11});
  ASSERT_TRUE(write_run_state(temp.path / "state", state));
  const RunState back = read_run_state(temp.path / "state").value();
  EXPECT_EQ(back.pid, 7);
  EXPECT_TRUE(back.ready);
  ASSERT_EQ(back.processes.size(), 1u);
  EXPECT_EQ(back.processes[0].role, "node");
  EXPECT_EQ(back.processes[0].restarts, 2);
}

TEST(RunState, OneOfAnEarlierBootIsNone) {
  std::string text = run_state_to_json({});
  const size_t at = text.find("boot_id\":\"") + 10;
  text[at] = text[at] == '0' ? '1' : '0';
  EXPECT_EQ(run_state_from_json(text).error().code, ErrorCode::not_found);
  EXPECT_EQ(run_state_from_json("{").error().code, ErrorCode::corrupt);
}

TEST(LogRotation, KeepsAFewAndBoundsTheCurrentOne) {
  const TempFolder temp;
  const auto log = temp.path / "node.log";
  const RotationLimits limits{.size_max_bytes = 4, .kept = 2};
  for (const char* text : {"first", "second", "third"}) {
    ASSERT_TRUE(write_file_atomic(log, text));
    ASSERT_TRUE(rotate_log(log, limits));
  }
  EXPECT_EQ(read_file(log).value(), "");
  EXPECT_EQ(read_file(log.string() + ".1").value(), "third");
  EXPECT_EQ(read_file(log.string() + ".2").value(), "second");
  EXPECT_FALSE(std::filesystem::exists(log.string() + ".3"));
}

TEST(LogRotation, TailGivesTheLastLines) {
  const TempFolder temp;
  const auto log = temp.path / "node.log";
  ASSERT_TRUE(write_file_atomic(log, "a\nb\nc\n"));
  EXPECT_EQ(log_tail(log, 2), "b\nc");
  EXPECT_EQ(log_tail(log, 9), "a\nb\nc");
  EXPECT_EQ(log_tail(log, 9, 4), "c");
  EXPECT_EQ(log_tail(temp.path / "none", 2), "");
}

TEST(Announcement, HasANullKeyWhenItIsGone) {
  EXPECT_EQ((Announcement{"http://h:1", "", "/d", 5}.json()),
            R"({"url":"http://h:1","key":null,"data_dir":"/d","pid":5})");
  EXPECT_EQ((Announcement{"http://h:1", "k", "/d", 5}.json()),
            R"({"url":"http://h:1","key":"k","data_dir":"/d","pid":5})");
}

}  // namespace
}  // namespace hearth::supervisor
