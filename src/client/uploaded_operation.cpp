#include "client/uploaded_operation.hpp"

#include "client/operation.hpp"
#include "client/upload.hpp"

namespace hearth::client {
namespace {

constexpr int kAttempts = 5;

Result<std::string> run_once(ApiClient& api, const UploadedOperation& operation, Progress& progress) {
  if (!operation.entries.empty()) {
    TRY_VOID(upload_missing(api.endpoint(), operation.root, operation.entries, progress));
  }
  TRY(const std::string started, api.post(operation.path, operation.request));
  return follow_operation(api, started, progress);
}

}  // namespace

Result<std::string> run_with_uploads(ApiClient& api, const UploadedOperation& operation, Progress& progress) {
  for (int attempt = 1;; ++attempt) {
    auto result = run_once(api, operation, progress);
    if (result || attempt == kAttempts || operation.entries.empty()) return result;
    const auto missing = count_missing(api, operation.entries);
    if (!missing || *missing == 0) return result;
    progress.finish();
  }
}

}  // namespace hearth::client
