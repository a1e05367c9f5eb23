#include "container/holder_spawner.hpp"

#include "container/jail_fixture.hpp"
#include "holder/server.hpp"

#include <gmock/gmock.h>

#include <signal.h>
#include <sys/wait.h>

#include <thread>

namespace hearth::container {

namespace {

using testing::HasSubstr;

/// A holder in a process of its own.
class HolderProcess {
 public:
  explicit HolderProcess(const std::filesystem::path& socket) {
    pid = ::fork();
    if (pid == 0) ::_exit(holder::serve({.socket = socket}) ? 0 : 1);
  }
  ~HolderProcess() {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
  HolderProcess(const HolderProcess&) = delete;
  HolderProcess& operator=(const HolderProcess&) = delete;
  pid_t pid = -1;
};

/// Jails started through a holder, by a runtime that may be replaced: as when the node process is.
class HeldJail : public Jail {
 protected:
  void SetUp() override {
    Jail::SetUp();
    if (IsSkipped()) return;
    holder = std::make_unique<HolderProcess>(folder.path() / "holder.sock");
    runtime = open_runtime();
  }
  std::unique_ptr<ContainerRuntime> open_runtime() const {
    auto client = std::make_shared<holder::Client>(folder.path() / "holder.sock");
    const auto deadline = Deadline::after(mono_now(), seconds(10));
    while (!client->list("") && !deadline.passed(mono_now())) std::this_thread::sleep_for(milliseconds(5));
    return std::make_unique<ContainerRuntime>(
        must(ContainerRuntime::open({.run_dir = folder.path() / "run", .cgroup_parent = parent},
                                    std::make_shared<HolderSpawner>(std::move(client)))));
  }
  std::unique_ptr<HolderProcess> holder;
};

TEST_F(HeldJail, ContainerBecomesAChildOfTheHolder) {
  const auto container = must(runtime->start(spec("sleep 1000")));
  EXPECT_THAT(must(read_file("/proc/" + std::to_string(container.pid) + "/status")),
              HasSubstr("PPid:\t" + std::to_string(holder->pid) + "\n"));
}

TEST_F(HeldJail, NextProcessAdoptsByTheRecordAlone) {
  const auto container = must(runtime->start(spec("sleep 1000")));
  runtime.reset();
  runtime = open_runtime();
  EXPECT_EQ(must(runtime->list()), std::vector<std::string>{container.id});
  EXPECT_TRUE(is_running(container));
  EXPECT_GT(must(must(runtime->cgroup(container)).usage()).memory_bytes, 0U);
  must(runtime->destroy(container.id));
  EXPECT_FALSE(is_running(container));
}

TEST_F(HeldJail, KilledHolderTakesNoContainerWithIt) {
  const auto container = must(runtime->start(spec("sleep 1000")));
  holder.reset();
  EXPECT_TRUE(is_running(container));
  holder = std::make_unique<HolderProcess>(folder.path() / "holder.sock");
  runtime = open_runtime();
  must(runtime->destroy(container.id));
  EXPECT_FALSE(is_running(container));
}

TEST_F(HeldJail, FailureOfTheRuntimeIsExplained) {
  auto what = spec("");
  what.argv = {"/bin/no-such-program"};
  EXPECT_THAT(runtime->start(std::move(what)).error().message, HasSubstr("no such file or directory"));
}

TEST_F(HeldJail, OutputOfABuildComesThrough) {
  const auto outcome = run(spec("echo one; echo two >&2; exit 3"));
  EXPECT_EQ(outcome.code, 3);
  EXPECT_THAT(outcome.output, HasSubstr("one\n"));
  EXPECT_THAT(outcome.output, HasSubstr("two\n"));
}

}  // namespace

}  // namespace hearth::container
