// `hearth image`, to which image.cpp (through the API) and image_mount.cpp (on this machine) add their verbs.
#pragma once

#include "app/subcommand.hpp"

namespace hearth::app {

/// The subcommand, made at its first use.
CLI::App* image_command(CLI::App& parent);

}  // namespace hearth::app
