// Asks a node what it runs, over its wire socket: works when no router does.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"

#include <filesystem>
#include <string>

namespace hearth::supervisor {

/// The JSON text of the node's answer to `status`: {"node", "replicas", "resources"}. Root, or the router's group.
Result<std::string> node_status(const std::filesystem::path& socket, Deadline deadline);

}  // namespace hearth::supervisor
