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

enum class Holder {
  gone,
  stays,  // files of images that are not complete are in use: without it their holes would be read as zeros
};

/// What a user is told then.
inline constexpr const char* kHolderStays =
    "the holder stays: an image that is not all here is still mounted outside of Hearth; what is missing of it fails "
    "to be read until 'hearth up' runs again. Unmount it and the holder ends";

/// Stops all that runs, one after the other, the last started first, and takes away what it left behind; `on_stopped`
/// is told each role. A holder that has to stay keeps the run folder, where the next `hearth up` finds it by `state`;
/// it ends by itself when nobody uses those files any more.
Result<Holder> stop_all(const Layout& layout, RunState state, std::vector<Stopping> processes,
                        const std::function<void(const std::string&)>& on_stopped);

/// What of the recorded processes still runs, in the order in which it was started.
std::vector<Stopping> still_running(const RunState& state);

}  // namespace hearth::supervisor
