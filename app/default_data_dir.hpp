// Which data folder a command means that names none.
#pragma once

#include <string>

namespace hearth::app {

/// For `hearth up`.
std::string default_data_dir();
/// For `hearth down` and `hearth status`: the one of the context that `hearth up` wrote for this user, else the same.
std::string known_data_dir();

}  // namespace hearth::app
