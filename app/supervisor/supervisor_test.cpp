#include "supervisor/supervisor.hpp"

#include "base/file.hpp"
#include "base/process.hpp"
#include "base/random_id.hpp"
#include "supervisor/control.hpp"
#include "supervisor/shutdown.hpp"

#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <thread>

namespace hearth::supervisor {
namespace {

/// A supervisor in a process of its own, over roles that are small shell scripts.
class SupervisorTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("supervisor-test-" + random_id(8));
    layout_ = {folder_ / "data", folder_ / "run"};
    ASSERT_TRUE(make_directories(layout_.data / "logs"));
    ASSERT_TRUE(make_directories(layout_.run));
  }
  void TearDown() override {
    if (pid_ > 0) stop();
    if (const auto state = read_run_state(layout_.state()))
      (void)stop_all(layout_, *state, still_running(*state), [](const auto&) {});
    std::filesystem::remove_all(folder_);
  }

  /// A role that appends its name to `order` when it starts and when it is told to stop.
  Role role(const std::string& name) {
    const std::string order = (folder_ / "order").string();
    const std::string flag = (folder_ / name).string();
    const std::string script = "trap 'echo -" + name + " >> " + order + "; exit 0' TERM; echo +" + name + " >> " +
                               order + "; echo $$ > " + flag + "; while :; do sleep 0.01; done";
    return script_role(name, script, [flag] { return std::filesystem::exists(flag); });
  }
  Role script_role(const std::string& name, const std::string& script, std::function<bool()> ready) {
    Role role{.name = name, .launch = {}, .ready = std::move(ready), .stop_time = seconds(10), .folders = {}};
    role.launch = {.program = "/bin/sh", .args = {"sh", "-c", script}, .log = layout_.log(name), .user = {}, .fds = {}};
    return role;
  }

  std::vector<Role> roles(const std::vector<std::string>& names) {
    std::vector<Role> out;
    for (const std::string& name : names) out.push_back(role(name));
    return out;
  }

  /// Returns the supervisor's pid at once.
  void start(const std::function<std::vector<Role>()>& make_roles) {
    pid_ = ::fork();
    if (pid_ != 0) return;
    SupervisorOptions options{.layout = layout_, .url = "http://127.0.0.1:1", .store = "", .roles = make_roles()};
    options.ready_time = ready_time_;
    auto supervisor = Supervisor::open(std::move(options));
    const auto served = supervisor ? (*supervisor)->run() : Result<>(Unexpected(supervisor.error()));
    if (!served) (void)write_file_atomic(folder_ / "error", served.error().message);
    ::_exit(served ? 0 : 1);
  }
  int stop(int signal = SIGTERM) {
    ::kill(pid_, signal);
    return ended();
  }
  int ended() {
    int status = 0;
    ::waitpid(std::exchange(pid_, -1), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  RunState ready_state() {
    for (;;) {
      const auto state = read_run_state(layout_.state());
      if (state && state->ready && state->pid == pid_) return *state;
      std::this_thread::sleep_for(milliseconds(2));
    }
  }
  static pid_t pid_of(const RunState& state, const std::string& name) {
    return std::ranges::find(state.processes, name, &ProcessState::role)->pid;
  }
  std::string order() { return read_file(folder_ / "order").value_or(""); }

  std::filesystem::path folder_;
  Layout layout_;
  pid_t pid_ = -1;
  Duration ready_time_ = seconds(60);
};

TEST_F(SupervisorTest, StartsRolesInOrderAndStopsThemInTheOpposite) {
  start([this] { return roles({"one", "two", "three"}); });
  const RunState state = ready_state();
  ASSERT_EQ(state.processes.size(), 3u);
  EXPECT_EQ(stop(), 0);
  EXPECT_EQ(order(), "+one\n+two\n+three\n-three\n-two\n-one\n");
  for (const ProcessState& process : state.processes) EXPECT_NE(process_start_time(process.pid), process.start_time);
  EXPECT_FALSE(std::filesystem::exists(layout_.run)) << "nothing is left";
}

TEST_F(SupervisorTest, AKilledRoleComesBackAndTheOthersStay) {
  start([this] { return roles({"one", "two"}); });
  const RunState before = ready_state();
  ::kill(pid_of(before, "one"), SIGKILL);
  RunState after = before;
  while (pid_of(after, "one") == pid_of(before, "one") || after.processes.size() < 2) after = ready_state();
  EXPECT_EQ(pid_of(after, "two"), pid_of(before, "two"));
  EXPECT_EQ(after.processes[0].restarts, 1);
  EXPECT_EQ(stop(), 0);
}

TEST_F(SupervisorTest, EachStartIsPreparedAnew) {
  start([this] {
    std::vector<Role> list;
    const std::string flag = (folder_ / "one").string();
    list.push_back(script_role("one", "echo $0 >> " + (folder_ / "order").string() + "; touch " + flag + "; sleep 600",
                               [flag] { return std::filesystem::exists(flag); }));
    list[0].prepare = [count = 0](LaunchOptions& launch) mutable { launch.args.push_back(std::to_string(++count)); };
    return list;
  });
  const RunState before = ready_state();
  ::kill(pid_of(before, "one"), SIGKILL);
  while (order() != "1\n2\n") std::this_thread::sleep_for(milliseconds(2));
  EXPECT_EQ(stop(), 0);
}

TEST_F(SupervisorTest, TheNextAdoptsWhatAKilledOneLeft) {
  const auto pair = [this] { return roles({"one", "two"}); };
  start(pair);
  const RunState before = ready_state();
  EXPECT_EQ(stop(SIGKILL), 128 + SIGKILL);
  EXPECT_EQ(still_running(before).size(), 2u);
  start(pair);
  const RunState after = ready_state();
  EXPECT_EQ(pid_of(after, "one"), pid_of(before, "one"));
  EXPECT_EQ(pid_of(after, "two"), pid_of(before, "two"));
  // It is no child of the new one; it is watched all the same.
  ::kill(pid_of(after, "two"), SIGKILL);
  while (pid_of(ready_state(), "two") == pid_of(before, "two")) std::this_thread::sleep_for(milliseconds(2));
  EXPECT_EQ(stop(), 0);
  EXPECT_TRUE(still_running(before).empty());
}

TEST_F(SupervisorTest, ARoleThatCannotStartEndsEverythingWithItsLastWords) {
  start([this] {
    std::vector<Role> list;
    list.push_back(role("one"));
    list.push_back(script_role("two", "echo the store is not there; exit 3", [] { return false; }));
    return list;
  });
  EXPECT_EQ(ended(), 1);
  const std::string error = read_file(folder_ / "error").value();
  EXPECT_NE(error.find("two stopped while starting (exit status 3)"), std::string::npos) << error;
  EXPECT_NE(error.find("the store is not there"), std::string::npos) << error;
  EXPECT_TRUE(order().ends_with("-one\n")) << "what had started is stopped";
}

TEST_F(SupervisorTest, ARoleThatNeverGetsReadyEndsTheStart) {
  ready_time_ = milliseconds(100);
  start([this] {
    std::vector<Role> list;
    list.push_back(script_role("slow", "echo waiting for the store; sleep 600", [] { return false; }));
    return list;
  });
  EXPECT_EQ(ended(), 1);
  const std::string error = read_file(folder_ / "error").value();
  EXPECT_NE(error.find("slow does not get ready"), std::string::npos) << error;
  EXPECT_NE(error.find("waiting for the store"), std::string::npos) << error;
}

TEST_F(SupervisorTest, AMissingProgramEndsTheStart) {
  start([this] {
    std::vector<Role> list;
    list.push_back(role("one"));
    list.back().launch.program = "/no/such/program";
    return list;
  });
  EXPECT_EQ(ended(), 1);
  EXPECT_NE(read_file(folder_ / "error").value().find("/no/such/program"), std::string::npos);
}

TEST_F(SupervisorTest, StopsWhenAskedOverItsSocketAndTellsWhatItStopped) {
  start([this] { return roles({"one", "two"}); });
  (void)ready_state();
  std::vector<std::string> stopped;
  EXPECT_TRUE(
      ask_to_stop(layout_.socket("supervisor"), [&stopped](const std::string& name) { stopped.push_back(name); }));
  EXPECT_EQ(ended(), 0);
  EXPECT_EQ(stopped, (std::vector<std::string>{"two", "one"}));
}

TEST_F(SupervisorTest, AStopWhileStartingStopsWhatHadStarted) {
  start([this] {
    std::vector<Role> list;
    list.push_back(role("one"));
    list.push_back(script_role("two", "sleep 600", [] { return false; }));
    return list;
  });
  while (order() != "+one\n") std::this_thread::sleep_for(milliseconds(2));
  EXPECT_EQ(stop(), 0);
  EXPECT_EQ(order(), "+one\n-one\n");
}

TEST_F(SupervisorTest, ADeafRoleIsKilled) {
  start([this] {
    std::vector<Role> list;
    const std::string flag = (folder_ / "deaf").string();
    list.push_back(script_role("deaf", "trap '' TERM; touch " + flag + "; while :; do sleep 0.01; done",
                               [flag] { return std::filesystem::exists(flag); }));
    list.back().stop_time = milliseconds(50);
    return list;
  });
  const RunState state = ready_state();
  EXPECT_EQ(stop(), 0);
  EXPECT_TRUE(still_running(state).empty());
}

}  // namespace
}  // namespace hearth::supervisor
