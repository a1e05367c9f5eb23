// Runs a function as the user that root inside a jail is on the host, with all of root's capabilities.
#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "container/layer_stack.hpp"

#include <functional>

namespace hearth::container {

/// The identity is that of file-system access (setfsuid) of a thread made for the purpose: the caller's does not
/// change.
Result<UniqueFd> as_mapped_root(const IdMap& map, const std::function<Result<UniqueFd>()>& function);

}  // namespace hearth::container
