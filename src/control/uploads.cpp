#include "base/digest.hpp"
#include "control/handlers.hpp"
#include "control/request_json.hpp"

#include <nlohmann/json.hpp>

#include <utility>

namespace hearth::control {
namespace {

using Json = nlohmann::json;

constexpr size_t kPartBytesMax = size_t{4} << 20;
constexpr size_t kDigestsMax = 10'000;

Result<std::vector<std::string>> read_digests(const AdminCall& call) {
  TRY(const Json body, body_object(call));
  const auto found = body.find("digests");
  if (found == body.end() || !found->is_array() || found->size() > kDigestsMax) {
    return fail(ErrorCode::invalid_argument, "\"digests\" must be a list of at most 10000 digests");
  }
  std::vector<std::string> digests;
  for (const Json& digest : *found) {
    if (!digest.is_string()) return fail(ErrorCode::invalid_argument, "\"digests\" must be a list of digests");
    TRY_VOID(check_hex_digest(digest.get_ref<const std::string&>()));
    digests.push_back(digest.get<std::string>());
  }
  return digests;
}

}  // namespace

Answer post_uploads_missing(Control& control, CallPtr call) {
  CO_TRY(std::vector<std::string> digests, read_digests(*call));
  auto look = [store = control.host.store(), workspace = call->caller.workspace, digests = std::move(digests)] {
    return missing_uploads(*store, workspace, digests);
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
  auto store = [store = control.host.store(), call]() -> Result<blob::Created> {
    const std::string& digest = call->arguments[0];
    if (Digest::of(call->request.body).hex() != digest) {
      return fail(ErrorCode::invalid_argument, "the bytes do not have the digest " + digest);
    }
    return store->create("ws/" + call->caller.workspace + "/uploads/" + digest, call->request.body);
  };
  Result<blob::Created> created = co_await in_pool(control, std::move(store));
  if (!created) co_return Unexpected(created.error());
  co_return Reply{.status = *created == blob::Created::yes ? 201 : 200, .body = "{}"};
}

}  // namespace hearth::control
