// An operation that needs uploaded files: sends what the server lacks, starts it, follows it to its end.
#pragma once

#include "base/result.hpp"
#include "client/api_client.hpp"
#include "client/folder.hpp"
#include "client/progress.hpp"

#include <filesystem>
#include <string>
#include <vector>

namespace hearth::client {

struct UploadedOperation {
  std::filesystem::path root;        // where entry paths begin
  std::vector<FolderEntry> entries;  // may be empty
  std::string path;                  // to POST to, "/api/v1/deployments"
  std::string request;               // a JSON object
};

/// The operation's result as JSON text. When parts went between the upload and their use (the server was
/// restarted, or an older one collected garbage), they are sent again and the operation is started anew, a few times.
Result<std::string> run_with_uploads(ApiClient& api, const UploadedOperation& operation, Progress& progress);

}  // namespace hearth::client
