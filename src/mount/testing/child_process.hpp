// A forked process that ends with its owner: daemons that tests kill.
#pragma once

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <utility>

namespace hearth::mount::testing {

class ChildProcess {
 public:
  /// `run` returns whether all went well; the child's exit status tells.
  template <class Run>
  explicit ChildProcess(const Run& run) {
    pid_ = ::fork();
    if (pid_ != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::_exit(run() ? 0 : 1);
  }
  ~ChildProcess() { end(SIGKILL); }
  ChildProcess(ChildProcess&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;
  ChildProcess& operator=(ChildProcess&&) = delete;

  pid_t pid() const { return pid_; }

  /// The wait status; -1 when it had ended before.
  int end(int signal) {
    if (pid_ < 0) return -1;
    ::kill(pid_, signal);
    int status = 0;
    ::waitpid(std::exchange(pid_, -1), &status, 0);
    return status;
  }

 private:
  pid_t pid_ = -1;
};

}  // namespace hearth::mount::testing
