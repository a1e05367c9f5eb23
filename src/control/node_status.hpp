// What the node says it runs, seen by one workspace.
#pragma once

#include "control/admin_call.hpp"

#include <nlohmann/json_fwd.hpp>

namespace hearth::control {

/// {"nodes": […], "replicas": […]}: only the workspace's replicas. A node that does not answer is simply absent.
net::Task<nlohmann::json> node_status(Control& control, std::string workspace);

}  // namespace hearth::control
