// Which lazy back ends this host can run, found by trying, and the reason when it cannot.
#pragma once

#include "base/result.hpp"

#include <filesystem>

namespace hearth::mount {

/// The canary: in `dir` (on the cache's disk) makes a small layer, mounts it with its data file empty and marked, and
/// reads it. Succeeds when the read raised an event, waited until the event was answered, and then saw what was filled
/// in meanwhile. Leaves nothing behind. unavailable, with what is missing, when this host cannot do that.
Result<> probe_erofs(const std::filesystem::path& dir);

/// Whether /dev/fuse can be opened and a FUSE mount be made.
Result<> probe_fuse();

}  // namespace hearth::mount
