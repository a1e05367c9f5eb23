// The settings of imagefs that an operator chooses: flags of `hearth imagefs`, and of `hearth up`, which passes them
// on.
#pragma once

#include "app/subcommand.hpp"
#include "mount/imagefs.hpp"

#include <string>
#include <vector>

namespace hearth::app {

/// Adds the flags; what they say goes into `config`, which outlives the command.
void add_imagefs_options(CLI::App& command, mount::Config& config);

/// The flags that make an imagefs have these settings; those that are as by default are left out.
std::vector<std::string> imagefs_arguments(const mount::Config& config);

}  // namespace hearth::app
