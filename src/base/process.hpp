// Runs a program and waits for it: skopeo, mmdebstrap, runc. Blocking; never on an event loop.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hearth {

struct ProcessOptions {
  std::vector<std::string> args;                        // args[0] is looked up in PATH
  std::optional<std::vector<std::string>> environment;  // "KEY=value"; inherited when absent
  std::string directory;                                // working directory; empty keeps the caller's
  std::string input;                                    // given on standard input
  std::function<void(std::string_view)> on_output;      // stdout and stderr together, as read; else it is collected
  Deadline deadline;                                    // killed (SIGKILL, whole process group) when it passes
};

struct ProcessExit {
  int code = 0;        // exit status, or 128 + signal
  std::string output;  // what was not given to on_output; the last 64 KiB
};

/// Error only when the program could not be started or its deadline passed; a non-zero exit is a value.
Result<ProcessExit> run_process(const ProcessOptions& options);

/// A number in /proc/<pid>/stat, by its field in proc(5); after the name, so from 4 on. Works for zombies; nothing when
/// there is no such process.
std::optional<uint64_t> process_stat_field(pid_t pid, int field);

/// When a process started, in clock ticks since boot (field 22 of /proc/<pid>/stat): with the pid it names one process
/// for ever, since pids are reused. Works for zombies; nothing when there is no such process.
std::optional<uint64_t> process_start_time(pid_t pid);

/// Absolute path of a program in PATH, /usr/sbin or /sbin.
std::optional<std::string> find_program(std::string_view name);

}  // namespace hearth
