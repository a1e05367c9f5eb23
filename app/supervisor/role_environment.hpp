// What environment a role is started with: credentials of the object store go to those that use it, to nobody else.
#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "supervisor/launch.hpp"

#include <string>
#include <utility>
#include <vector>

namespace hearth::supervisor {

/// "KEY=value" of this process.
std::vector<std::string> own_environment();

/// The same without the variables of the object store.
std::vector<std::string> environment_without_store();

/// For a role with other rights than ours. Files of credentials that it could not read are copied into memory, owned by
/// its user, and named as descriptors.
struct RoleEnvironment {
  std::vector<std::string> variables;
  std::vector<std::pair<UniqueFd, int>> fds;  // {descriptor here, its number in the role}
};
Result<RoleEnvironment> environment_for(const Unprivileged& user, int first_fd);

}  // namespace hearth::supervisor
