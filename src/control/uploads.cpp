#include "base/digest.hpp"
#include "catalog/store_keys.hpp"
#include "control/handlers.hpp"
#include "control/request_json.hpp"

#include <nlohmann/json.hpp>

#include <unordered_set>
#include <utility>

namespace hearth::control {
namespace {

using Json = nlohmann::json;

constexpr size_t kPartBytesMax = size_t{4} << 20;
constexpr size_t kDigestsMax = 10'000;

struct Question {
  std::vector<std::string> digests;
  std::shared_ptr<blob::Intent> session;  // may be null
};

Result<Question> read_question(UploadSessions& sessions, const AdminCall& call) {
  TRY(const Json body, body_object(call));
  Question question;
  const auto found = body.find("digests");
  if (found == body.end() || !found->is_array() || found->size() > kDigestsMax) {
    return fail(ErrorCode::invalid_argument, "\"digests\" must be a list of at most 10000 digests");
  }
  for (const Json& digest : *found) {
    if (!digest.is_string()) return fail(ErrorCode::invalid_argument, "\"digests\" must be a list of digests");
    TRY_VOID(check_hex_digest(digest.get_ref<const std::string&>()));
    question.digests.push_back(digest.get<std::string>());
  }
  TRY(question.session, upload_session(sessions, body, call.caller.workspace));
  return question;
}

/// What is there stays for as long as the session does.
Result<std::vector<std::string>> missing_of(blob::ObjectStore& store, const std::string& workspace,
                                            const Question& question) {
  TRY(auto missing, missing_uploads(store, workspace, question.digests));
  if (!question.session) return missing;
  const std::unordered_set<std::string> absent(missing.begin(), missing.end());
  std::vector<std::string> keys;
  for (const std::string& hex : question.digests) {
    if (!absent.contains(hex)) keys.push_back(catalog::upload_key(workspace, hex));
  }
  TRY(const auto gone, question.session->keep(keys));
  for (const std::string& key : gone) missing.push_back(key.substr(key.rfind('/') + 1));
  return missing;
}

Result<blob::Created> store_part(blob::ObjectStore& store, UploadSessions& sessions, const AdminCall& call) {
  const std::string& digest = call.arguments[0];
  const std::string& bytes = call.request.body;
  if (Digest::of(bytes).hex() != digest) {
    return fail(ErrorCode::invalid_argument, "the bytes do not have the digest " + digest);
  }
  const std::string key = catalog::upload_key(call.caller.workspace, digest);
  const auto id = call.request.query_value("session");
  if (!id) return store.create(key, bytes);
  TRY(const auto session, sessions.find(*id, call.caller.workspace));
  return session->create(key, bytes);
}

}  // namespace

Answer post_upload_session(Control& control, CallPtr call) {
  auto begin = [store = control.host.store(), sessions = control.uploads, call] {
    return sessions->begin(store, call->caller.workspace);
  };
  Result<std::string> id = co_await in_pool(control, std::move(begin));
  if (!id) co_return Unexpected(id.error());
  co_return Reply{.status = 201, .body = Json{{"session", *id}}.dump()};
}

Answer post_uploads_missing(Control& control, CallPtr call) {
  auto look = [store = control.host.store(), sessions = control.uploads, call]() -> Result<std::vector<std::string>> {
    TRY(const Question question, read_question(*sessions, *call));
    return missing_of(*store, call->caller.workspace, question);
  };
  Result<std::vector<std::string>> missing = co_await in_pool(control, std::move(look));
  if (!missing) co_return Unexpected(missing.error());
  co_return Reply{.body = Json{{"missing", *missing}}.dump()};
}

Answer put_upload(Control& control, CallPtr call) {
  const std::string& hex = call->arguments[0];
  CO_TRY_VOID(check_hex_digest(hex));
  if (call->request.body.size() > kPartBytesMax) {
    co_return Reply{.status = 413, .body = R"({"error":"a part may have at most 4 MiB; cut the file into several"})"};
  }
  auto store = [store = control.host.store(), sessions = control.uploads, call] {
    return store_part(*store, *sessions, *call);
  };
  Result<blob::Created> created = co_await in_pool(control, std::move(store));
  if (!created) co_return Unexpected(created.error());
  co_return Reply{.status = *created == blob::Created::yes ? 201 : 200, .body = "{}"};
}

}  // namespace hearth::control
