#include "catalog/catalog.hpp"
#include "control/handlers.hpp"
#include "control/request_json.hpp"

#include <nlohmann/json.hpp>

#include <utility>

namespace hearth::control {
namespace {

using Json = nlohmann::json;

constexpr size_t kNameMax = 100;

Json key_json(const catalog::ApiKey& key) {
  return {{"id", key.id}, {"name", key.name}, {"workspace", key.workspace}, {"created", to_iso8601(key.created)}};
}

Result<std::string> read_name(const AdminCall& call) {
  TRY(const Json body, body_object(call));
  TRY(std::string name, text_member(body, "name"));
  if (name.empty() || name.size() > kNameMax) {
    return fail(ErrorCode::invalid_argument, "\"name\" must have 1 to 100 characters");
  }
  return name;
}

}  // namespace

Answer get_keys(Control& control, CallPtr call) {
  auto list = [store = control.host.store(), call] {
    return catalog::Catalog(store).list_keys(call->caller.workspace);
  };
  Result<std::vector<catalog::ApiKey>> keys = co_await in_pool(control, std::move(list));
  if (!keys) co_return Unexpected(keys.error());
  Json listed = Json::array();
  for (const catalog::ApiKey& key : *keys) listed.push_back(key_json(key));
  co_return Reply{.body = Json{{"keys", std::move(listed)}}.dump(-1, ' ', false, Json::error_handler_t::replace)};
}

Answer post_key(Control& control, CallPtr call) {
  CO_TRY(std::string name, read_name(*call));
  auto create = [store = control.host.store(), call, name = std::move(name)] {
    return catalog::Catalog(store).create_key(call->caller.workspace, name);
  };
  Result<catalog::NewApiKey> made = co_await in_pool(control, std::move(create));
  if (!made) co_return Unexpected(made.error());
  co_await refresh_catalog(control);
  Json body = key_json(made->key);
  body["key"] = made->secret;
  co_return Reply{.status = 201, .body = body.dump(-1, ' ', false, Json::error_handler_t::replace)};
}

Answer delete_key(Control& control, CallPtr call) {
  auto revoke = [store = control.host.store(), call] {
    return catalog::Catalog(store).revoke_key(call->caller.workspace, call->arguments[0]);
  };
  Result<> done = co_await in_pool(control, std::move(revoke));
  if (!done) co_return Unexpected(done.error());
  co_await refresh_catalog(control);
  co_return Reply{.body = Json{{"id", call->arguments[0]}, {"revoked", true}}.dump()};
}

}  // namespace hearth::control
