// Starting and reaping processes: the half of the holder that deals with the kernel's process table.
#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "holder/message.hpp"

#include <string>
#include <vector>

namespace hearth::holder {

/// The cost does not grow with what the holder keeps (KeptDescriptors numbers it out of the way). `fds` go to
/// spawn.targets, in order. The child's oom_score_adj is `oom_score`, or ours when that is empty.
Result<Child> start_child(const Spawn& spawn, const std::vector<UniqueFd>& fds, const std::string& oom_score);

/// Reaps every child that has ended, orphans included; never waits. `sequence` is left 0.
std::vector<Exit> reap_children();

}  // namespace hearth::holder
