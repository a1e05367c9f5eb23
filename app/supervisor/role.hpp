// One supervised process: how it is started, when it counts as ready, how long it may take to stop.
#pragma once

#include "base/clock.hpp"
#include "supervisor/launch.hpp"
#include "supervisor/layout.hpp"

#include <functional>
#include <string>
#include <vector>

namespace hearth::supervisor {

struct Role {
  std::string name;  // "router node imagefs holder redis": what status prints and log files are called
  LaunchOptions launch;
  std::function<void(LaunchOptions&)> prepare;  // when there is one: adds to a copy of `launch` before each start
  std::function<bool()> ready;                  // answers within a second; called while starting
  Duration stop_time = seconds(10);             // between SIGTERM and SIGKILL
  std::vector<UniqueFd> folders;                // what launch.fds refer to
};

inline constexpr int kRouterListenerFd = 3;  // where a router of ours finds the public listener

struct RoleOptions {
  Layout layout;
  Users users;
  std::string store;
  std::vector<std::string> imagefs_args;  // flags that the operator chose
  std::string redis_program;
  std::string url;
  int listener = -1;  // borrowed
};

/// All roles of one machine, in the order in which they start; they stop in the opposite one.
std::vector<Role> machine_roles(const RoleOptions& options);

}  // namespace hearth::supervisor
