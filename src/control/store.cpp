// The object store as a whole: where its bytes are, garbage collection, whether it is whole. The node does the work.
#include "control/handlers.hpp"
#include "control/request_json.hpp"

#include <nlohmann/json.hpp>

#include <cmath>
#include <utility>

namespace hearth::control {
namespace {

using Json = nlohmann::json;

constexpr Duration kPatience = std::chrono::hours(24);  // a deep look at a large store
constexpr double kGraceSecondsMax = 30.0 * 24 * 3600;

/// An optional yes or no.
Result<bool> flag_member(const Json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end()) return false;
  if (!found->is_boolean())
    return fail(ErrorCode::invalid_argument, "\"" + std::string(name) + "\" must be true or false");
  return found->get<bool>();
}

net::Task<> run_on_node(Control& control, std::string method, std::string params,
                        std::shared_ptr<Operation> operation) {
  Result<std::string> answer = co_await ask_node(control, std::move(method), std::move(params), operation, kPatience);
  if (answer) {
    operation->succeed(*answer);
  } else {
    operation->fail(answer.error());
  }
}

/// Begins an operation that is one call of the node.
Answer start_on_node(Control& control, CallPtr call, std::string method, Json params) {
  params["workspace"] = call->caller.workspace;
  CO_TRY(std::shared_ptr<Operation> operation, control.operations.begin(call->caller.workspace));
  control.host.loop().spawn(run_on_node(control, std::move(method), params.dump(), operation));
  co_return Reply{.status = 202, .body = Json{{"operation", operation->id()}}.dump()};
}

/// The body, which may be left out.
Result<Json> optional_body(const AdminCall& call) {
  if (call.request.body.empty()) return Json::object();
  return body_object(call);
}

Result<Json> read_gc(const AdminCall& call) {
  TRY(const Json body, optional_body(call));
  Json params = Json::object();
  TRY(params["dry_run"], flag_member(body, "dry_run"));
  const auto grace = body.find("grace_seconds");
  if (grace == body.end()) return params;
  const bool number = grace->is_number() && std::isfinite(grace->get<double>());
  if (!number || grace->get<double>() < 0 || grace->get<double>() > kGraceSecondsMax) {
    return fail(ErrorCode::invalid_argument, "\"grace_seconds\" must be a number from 0 to 2592000 (30 days)");
  }
  params["grace_ms"] = static_cast<int64_t>(grace->get<double>() * 1000);
  return params;
}

Result<Json> read_verify(const AdminCall& call) {
  TRY(const Json body, optional_body(call));
  Json params = Json::object();
  TRY(params["deep"], flag_member(body, "deep"));
  return params;
}

}  // namespace

Answer post_store_du(Control& control, CallPtr call) {
  return start_on_node(control, std::move(call), "store_du", Json::object());
}

Answer post_store_gc(Control& control, CallPtr call) {
  CO_TRY(Json params, read_gc(*call));
  Result<Reply> begun = co_await start_on_node(control, call, "store_gc", std::move(params));
  co_return begun;
}

Answer post_store_verify(Control& control, CallPtr call) {
  CO_TRY(Json params, read_verify(*call));
  Result<Reply> begun = co_await start_on_node(control, call, "store_verify", std::move(params));
  co_return begun;
}

}  // namespace hearth::control
