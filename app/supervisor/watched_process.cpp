#include "supervisor/watched_process.hpp"

#include "base/process.hpp"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace hearth::supervisor {

std::optional<WatchedProcess> WatchedProcess::child(pid_t pid) {
  UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  // The start time is read after the pidfd is held: now the pid cannot pass to another process unnoticed.
  const auto start_time = process_start_time(pid);
  if (!pidfd || !start_time) return std::nullopt;
  return WatchedProcess(pid, *start_time, std::move(pidfd));
}

std::optional<WatchedProcess> WatchedProcess::find(pid_t pid, uint64_t start_time) {
  if (pid <= 0) return std::nullopt;
  auto process = child(pid);
  if (!process || process->start_time() != start_time || process->ended()) return std::nullopt;
  return process;
}

bool WatchedProcess::wait(Deadline deadline) const {
  for (;;) {
    int timeout_ms = -1;
    if (const auto left = deadline.left(mono_now())) {
      timeout_ms = static_cast<int>(std::chrono::ceil<milliseconds>(*left).count());
    }
    pollfd waiter{pidfd_.get(), POLLIN, 0};
    const int ready = ::poll(&waiter, 1, timeout_ms);
    if (ready >= 0) return ready > 0;
    if (errno != EINTR) return false;
  }
}

void WatchedProcess::signal(int number) const {
  (void)::syscall(SYS_pidfd_send_signal, pidfd_.get(), number, nullptr, 0);
}

UniqueFd WatchedProcess::descriptor(int number) const {
  return UniqueFd(static_cast<int>(::syscall(SYS_pidfd_getfd, pidfd_.get(), number, 0)));
}

}  // namespace hearth::supervisor
