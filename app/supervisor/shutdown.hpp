// Stops what runs, in order, and takes away what it left behind.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"
#include "supervisor/layout.hpp"
#include "supervisor/run_state.hpp"
#include "supervisor/watched_process.hpp"

#include <functional>
#include <string>
#include <vector>

namespace hearth::supervisor {

struct Stopping {
  std::string role;
  WatchedProcess process;
  Duration time = seconds(10);  // between SIGTERM and SIGKILL
};

/// One after the other, the last started first; `on_stopped` is told each.
void stop_processes(std::vector<Stopping> processes, const std::function<void(const std::string&)>& on_stopped);

/// Removes containers, mounts and the run folder once no role runs.
Result<> remove_leftovers(const Layout& layout);

/// What of the recorded processes still runs, in the order in which it was started.
std::vector<Stopping> still_running(const RunState& state);

}  // namespace hearth::supervisor
