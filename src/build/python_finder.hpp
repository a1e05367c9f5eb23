// Finds the interpreter of an image as a shell would.
#pragma once

#include "base/result.hpp"

#include <map>
#include <string>

namespace hearth::build {

/// Absolute path of python3, else python, in the PATH of the image's environment (or the usual one); empty when it has
/// none. Links are followed inside the root alone. `root_fd` is the root's directory or a detached mount of it.
std::string find_python(int root_fd, const std::map<std::string, std::string>& env);

}  // namespace hearth::build
