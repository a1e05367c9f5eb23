#include "supervisor/watched_process.hpp"

#include "base/process.hpp"

#include <gtest/gtest.h>

#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <thread>

namespace hearth::supervisor {
namespace {

/// A child that does this; killed and reaped at the end.
class Child {
 public:
  template <class Work>
  explicit Child(const Work& work) : pid(::fork()) {
    if (pid == 0) {
      work();
      ::_exit(0);
    }
  }
  ~Child() {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  const pid_t pid;
};

void sleep_for_ever() {
  for (;;) ::pause();
}

TEST(WatchedProcessTest, OneThatRunsIsFoundAndNotEnding) {
  const Child child(sleep_for_ever);
  const auto found = WatchedProcess::find(child.pid, *process_start_time(child.pid));
  ASSERT_TRUE(found);
  EXPECT_FALSE(found->is_ending());
  EXPECT_FALSE(WatchedProcess::find(child.pid, found->start_time() + 1)) << "another process of that number";
}

TEST(WatchedProcessTest, OneThatExitsIsEndingUntilItIsGone) {
  // Its first thread has exited; the second keeps all that the process holds, as a killed one does for a moment.
  const Child child([] {
    std::thread(sleep_for_ever).detach();
    ::syscall(SYS_exit, 0);
  });
  const auto found = WatchedProcess::find(child.pid, *process_start_time(child.pid));
  ASSERT_TRUE(found);
  const Deadline deadline = Deadline::after(mono_now(), seconds(30));
  while (!found->is_ending() && !deadline.passed(mono_now())) std::this_thread::yield();
  EXPECT_TRUE(found->is_ending());
  EXPECT_FALSE(found->ended());
}

}  // namespace
}  // namespace hearth::supervisor
