// What a mount of a layer must show, and what it does show: every mount back end is held to the same comparison.
#pragma once

#include "base/result.hpp"
#include "image/testing/tree_spec.hpp"

#include <string>

namespace hearth::mount::testing {

/// A layer's tree as a mount shows it: a whiteout is a 0:0 character device, an opaque directory carries
/// trusted.overlay.opaque=y.
image::testing::TreeSpec as_mounted(image::testing::TreeSpec layer);

/// Reads the whole tree of a detached mount, holes included, and says line by line how it differs; empty when it is
/// equal. The mount is attached to a folder of its own meanwhile, and detached for good afterwards. Needs root.
Result<std::string> difference_of_mount(const image::testing::TreeSpec& expected, int mount);

}  // namespace hearth::mount::testing
