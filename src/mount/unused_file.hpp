// Proof from the kernel that nobody has a file open: no process, and no file system that is mounted from it.
#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"

#include <filesystem>

namespace hearth::mount {

/// A descriptor with a write lease on the file: as long as it is kept, whoever opens the file waits. Nothing is read or
/// written. unavailable while anybody has it open (that may be ourselves); not_found.
Result<UniqueFd> prove_unused(const std::filesystem::path& path);

/// Removes the file, if and only if nobody has it open. Done also when there is none.
Result<> remove_unused_file(const std::filesystem::path& path);

}  // namespace hearth::mount
