#include "catalog/catalog.hpp"
#include "control/handlers.hpp"
#include "control/request_json.hpp"

#include <nlohmann/json.hpp>

#include <utility>

namespace hearth::control {
namespace {

using Json = nlohmann::json;

/// After a change: the aliases as they are now.
net::Task<Result<Reply>> aliases_now(Control& control, catalog::BranchRef branch) {
  auto read = [store = control.host.store(), branch] { return catalog::Catalog(store).branch(branch); };
  Result<catalog::BranchState> state = co_await in_pool(control, std::move(read));
  if (!state) co_return Unexpected(state.error());
  co_return Reply{.body = Json{{"model", branch.model},
                               {"branch", branch.branch},
                               {"aliases", Json(state->aliases)},
                               {"latest", state->latest()}}
                              .dump()};
}

Result<uint32_t> read_version(const AdminCall& call) {
  TRY(const Json body, body_object(call));
  const auto version = body.find("version");
  if (version == body.end() || !version->is_number_unsigned() || version->get<uint64_t>() == 0 ||
      version->get<uint64_t>() > UINT32_MAX) {
    return fail(ErrorCode::invalid_argument, "\"version\" must be a version number");
  }
  return version->get<uint32_t>();
}

}  // namespace

Answer get_aliases(Control& control, CallPtr call) {
  CO_TRY(catalog::BranchRef branch, branch_of_query(*call, call->arguments[0]));
  co_return co_await aliases_now(control, std::move(branch));
}

Answer put_alias(Control& control, CallPtr call) {
  CO_TRY(catalog::BranchRef branch, branch_of_query(*call, call->arguments[0]));
  CO_TRY_VOID(catalog::check_alias_name(call->arguments[1]));
  CO_TRY(uint32_t version, read_version(*call));
  auto set = [store = control.host.store(), branch, call, version] {
    return catalog::Catalog(store).set_alias(branch, call->arguments[1], version);
  };
  Result<> done = co_await in_pool(control, std::move(set));
  if (!done) co_return Unexpected(done.error());
  co_await refresh_catalog(control);
  co_return co_await aliases_now(control, std::move(branch));
}

Answer delete_alias(Control& control, CallPtr call) {
  CO_TRY(catalog::BranchRef branch, branch_of_query(*call, call->arguments[0]));
  auto remove = [store = control.host.store(), branch, call] {
    return catalog::Catalog(store).remove_alias(branch, call->arguments[1]);
  };
  Result<> done = co_await in_pool(control, std::move(remove));
  if (!done) co_return Unexpected(done.error());
  co_await refresh_catalog(control);
  co_return co_await aliases_now(control, std::move(branch));
}

}  // namespace hearth::control
