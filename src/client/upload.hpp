// Sends a manifest's parts to the server: only what it does not have yet.
#pragma once

#include "base/result.hpp"
#include "client/api_client.hpp"
#include "client/folder.hpp"
#include "client/progress.hpp"

#include <filesystem>
#include <string>
#include <vector>

namespace hearth::client {

/// Begins a session, which keeps in the store what is uploaded, or found there, until the operation that names it has
/// used it. "" from a server that knows none.
Result<std::string> begin_upload(ApiClient& api);

/// Uploads over a few connections at once. `root` is where entry paths begin; a file that changed since it was scanned
/// is an error that says so. not_found when the session has ended.
Result<> upload_missing(const Endpoint& endpoint, const std::filesystem::path& root,
                        const std::vector<FolderEntry>& entries, const std::string& session, Progress& progress);

}  // namespace hearth::client
