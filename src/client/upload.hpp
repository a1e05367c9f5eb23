// Sends a manifest's parts to the server: only what it does not have yet.
#pragma once

#include "base/result.hpp"
#include "client/api_client.hpp"
#include "client/folder.hpp"
#include "client/progress.hpp"

#include <cstddef>
#include <filesystem>
#include <vector>

namespace hearth::client {

/// Uploads over a few connections at once. `root` is where entry paths begin; a file that changed since it was scanned
/// is an error that says so.
Result<> upload_missing(const Endpoint& endpoint, const std::filesystem::path& root,
                        const std::vector<FolderEntry>& entries, Progress& progress);

/// How many parts the server does not have, or no longer.
Result<size_t> count_missing(ApiClient& api, const std::vector<FolderEntry>& entries);

}  // namespace hearth::client
