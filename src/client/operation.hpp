// Follows a long-running operation of the server (deployment, image import) to its end, showing its progress.
#pragma once

#include "base/result.hpp"
#include "client/api_client.hpp"
#include "client/progress.hpp"

#include <string>

namespace hearth::client {

/// The operation's `result` as JSON text. `start_reply` is the body that carries {"operation": id}. Connection trouble
/// is retried for a while: the operation itself goes on without us.
Result<std::string> follow_operation(ApiClient& api, const std::string& start_reply, Progress& progress);

}  // namespace hearth::client
