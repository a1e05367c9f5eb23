// A user namespace that exists only to describe an id map to mount_setattr(2).
#pragma once

#include "base/result.hpp"
#include "container/layer_stack.hpp"

namespace hearth::container {

/// Descriptor of a user namespace with this map for users and groups. Costs a short-lived child process. Needs root.
Result<UserNamespace> make_user_namespace(const IdMap& map);

}  // namespace hearth::container
