// `hearth image`: image.cpp and image_inspect.cpp speak to the API; image_mount.cpp adds what is done on this machine.
#pragma once

#include "app/subcommand.hpp"

namespace hearth::app {

/// Adds `mount` and `umount`.
void add_image_mount(CLI::App& image);

/// Adds `inspect`.
void add_image_inspect(CLI::App& image);

}  // namespace hearth::app
