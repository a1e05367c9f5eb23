// Starts a role's process: own session, own log file, given descriptors, and no more rights than it needs.
#pragma once

#include "base/result.hpp"
#include "supervisor/watched_process.hpp"

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace hearth::supervisor {

/// Drops to this user for good: no supplementary groups, no capabilities, none to be gained.
struct Unprivileged {
  uid_t uid;
  gid_t gid;
};

struct LaunchOptions {
  std::string program;                                    // absolute path, or /proc/self/exe
  std::vector<std::string> args;                          // args[0] as shown by ps
  std::filesystem::path log;                              // stdout and stderr are appended (0640)
  std::optional<Unprivileged> user;                       // ours when absent
  std::vector<std::pair<int, int>> fds;                   // {descriptor here, its number in the child}
  std::optional<std::vector<std::string>> environment{};  // "KEY=value"; ours when absent
};

/// Returns once the program runs; an error when it could not be started.
Result<WatchedProcess> launch(const LaunchOptions& options);

}  // namespace hearth::supervisor
