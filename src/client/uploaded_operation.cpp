#include "client/uploaded_operation.hpp"

#include "client/operation.hpp"
#include "client/upload.hpp"

#include <nlohmann/json.hpp>

namespace hearth::client {
namespace {

constexpr int kAttempts = 5;

std::string with_session(const std::string& request, const std::string& session) {
  auto object = nlohmann::json::parse(request, nullptr, false);
  object["session"] = session;
  return object.dump();
}

Result<std::string> run_once(ApiClient& api, const UploadedOperation& operation, Progress& progress) {
  std::string request = operation.request;
  if (!operation.entries.empty()) {
    TRY(const std::string session, begin_upload(api));
    TRY_VOID(upload_missing(api.endpoint(), operation.root, operation.entries, session, progress));
    if (!session.empty()) request = with_session(request, session);
  }
  TRY(const std::string started, api.post(operation.path, request));
  return follow_operation(api, started, progress);
}

}  // namespace

Result<std::string> run_with_uploads(ApiClient& api, const UploadedOperation& operation, Progress& progress) {
  for (int attempt = 1;; ++attempt) {
    auto result = run_once(api, operation, progress);
    // Not by asking what is missing now: another client may have sent the same parts since.
    const bool parts_were_gone = !result && result.error().code == ErrorCode::not_found && !operation.entries.empty();
    if (!parts_were_gone || attempt == kAttempts) return result;
    progress.finish();
  }
}

}  // namespace hearth::client
