#include "supervisor/watched_process.hpp"

#include "base/file.hpp"
#include "base/process.hpp"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdint>
#include <string>
#include <string_view>

namespace hearth::supervisor {

namespace {

constexpr int kFlagsField = 9;      // of /proc/PID/stat
constexpr uint64_t kExiting = 0x4;  // PF_EXITING of the kernel's include/linux/sched.h

/// Whether SIGKILL is in one of the two sets of pending signals in /proc/PID/status.
bool kill_is_pending(std::string_view status) {
  for (const std::string_view name : {"\nSigPnd:\t", "\nShdPnd:\t"}) {
    const size_t at = status.find(name);
    if (at == std::string_view::npos) continue;
    const char* begin = status.data() + at + name.size();
    uint64_t signals = 0;
    std::from_chars(begin, status.data() + status.size(), signals, 16);
    if ((signals >> (SIGKILL - 1) & 1) != 0) return true;
  }
  return false;
}

}  // namespace

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

bool WatchedProcess::is_ending() const {
  const auto flags = process_stat_field(pid_, kFlagsField);
  const auto status = read_file("/proc/" + std::to_string(pid_) + "/status");
  return !flags || !status || (*flags & kExiting) != 0 || kill_is_pending(*status);
}

void WatchedProcess::signal(int number) const {
  (void)::syscall(SYS_pidfd_send_signal, pidfd_.get(), number, nullptr, 0);
}

UniqueFd WatchedProcess::descriptor(int number) const {
  return UniqueFd(static_cast<int>(::syscall(SYS_pidfd_getfd, pidfd_.get(), number, 0)));
}

}  // namespace hearth::supervisor
