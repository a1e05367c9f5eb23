// A process that cannot be confused with another, child or not: pid, start time, and a pidfd to wait on.
#pragma once

#include "base/clock.hpp"
#include "base/unique_fd.hpp"

#include <sys/types.h>

#include <cstdint>
#include <optional>

namespace hearth::supervisor {

class WatchedProcess {
 public:
  /// Nothing when no such process runs (any more); zombies do not run.
  static std::optional<WatchedProcess> find(pid_t pid, uint64_t start_time);

  /// A child of ours that has not been reaped, ended or not.
  static std::optional<WatchedProcess> child(pid_t pid);

  pid_t pid() const { return pid_; }
  uint64_t start_time() const { return start_time_; }
  /// Readable once the process has ended.
  int fd() const { return pidfd_.get(); }
  bool ended() const { return wait(Deadline(MonoTime::min())); }
  /// Whether it was killed or exits, though it has not ended: what it holds, locks and sockets, is free in a moment.
  bool is_ending() const;
  /// True when it ended in time.
  bool wait(Deadline deadline) const;
  void signal(int number) const;
  /// A duplicate of one of its descriptors; empty when it has none of that number, or we may not.
  UniqueFd descriptor(int number) const;

 private:
  WatchedProcess(pid_t pid, uint64_t start_time, UniqueFd pidfd)
      : pid_(pid), start_time_(start_time), pidfd_(std::move(pidfd)) {}

  pid_t pid_;
  uint64_t start_time_;
  UniqueFd pidfd_;
};

}  // namespace hearth::supervisor
