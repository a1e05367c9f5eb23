#include "catalog/catalog.hpp"
#include "control/handlers.hpp"
#include "control/node_status.hpp"
#include "control/request_json.hpp"

#include <nlohmann/json.hpp>

#include <utility>

namespace hearth::control {
namespace {

using Json = nlohmann::json;

/// The state of a version's replica as the node says, "stopped" when there is none.
std::string state_of(const Json& replicas, const catalog::VersionRecord& record) {
  for (const Json& replica : replicas) {
    if (replica.value("model", Json()) == record.branch.model &&
        replica.value("branch", Json()) == record.branch.branch && replica.value("version", Json()) == record.version) {
      const Json state = replica.value("state", Json());
      return state.is_string() ? state.get<std::string>() : "unknown";
    }
  }
  return "stopped";
}

Json branch_json(const catalog::BranchRef& branch, const catalog::BranchState& state, const Json& replicas) {
  Json versions = Json::array();
  for (const auto& [number, record] : state.versions) {
    versions.push_back(
        {{"version", number}, {"created", to_iso8601(record->created)}, {"state", state_of(replicas, *record)}});
  }
  return {{"model", branch.model},
          {"branch", branch.branch},
          {"versions", std::move(versions)},
          {"aliases", Json(state.aliases)},
          {"latest", state.latest()}};
}

/// What a DELETE takes away.
struct Removal {
  std::string workspace;
  std::string model;
  std::optional<std::string> branch;
  std::optional<uint32_t> version;
};

Result<Removal> read_removal(const AdminCall& call) {
  Removal out{.workspace = call.caller.workspace, .model = call.arguments[0]};
  TRY(const catalog::BranchRef branch, branch_of_query(call, out.model));
  TRY(const auto version, number_of_query(call, "version", UINT32_MAX));
  if (version) out.version = static_cast<uint32_t>(*version);
  if (version || call.request.query_value("branch")) out.branch = branch.branch;
  return out;
}

/// The versions it means, as they are now. not_found without any.
Result<std::vector<catalog::VersionRecord>> meant_by(catalog::Catalog& catalog, const Removal& removal) {
  TRY(const auto branches, catalog.branches(removal.workspace, removal.model));
  std::vector<catalog::VersionRecord> versions;
  for (const auto& [branch, state] : branches) {
    if (removal.branch && branch.branch != *removal.branch) continue;
    for (const auto& [number, record] : state.versions) {
      if (!removal.version || number == *removal.version) versions.push_back(*record);
    }
  }
  if (!versions.empty()) return versions;
  std::string what = "no model '" + removal.model + "'";
  if (removal.branch) what += " on branch '" + *removal.branch + "'";
  if (removal.version) what += " with version " + std::to_string(*removal.version);
  return fail(ErrorCode::not_found, what);
}

Result<std::vector<catalog::VersionRecord>> remove(const std::shared_ptr<blob::ObjectStore>& store,
                                                   const Removal& removal) {
  catalog::Catalog catalog(store);
  TRY(auto versions, meant_by(catalog, removal));
  if (!removal.branch) {
    TRY_VOID(catalog.remove_model(removal.workspace, removal.model));
    return versions;
  }
  const catalog::BranchRef branch{removal.workspace, removal.model, *removal.branch};
  if (removal.version) {
    TRY_VOID(catalog.remove_version(branch, *removal.version));
  } else {
    TRY_VOID(catalog.remove_branch(branch));
  }
  return versions;
}

constexpr Duration kReportPatience = seconds(15);

}  // namespace

Answer get_models(Control& control, CallPtr call) {
  const std::shared_ptr<const catalog::Snapshot> snapshot = control.host.snapshot();
  if (!snapshot) co_return fail(ErrorCode::unavailable, "the catalog could not be read yet");
  const Json status = co_await node_status(control, call->caller.workspace);
  Json models = Json::array();
  for (const auto& [branch, state] : snapshot->branches()) {
    if (branch.workspace != call->caller.workspace || state.empty()) continue;
    models.push_back(branch_json(branch, state, status["replicas"]));
  }
  co_return Reply{.body = Json{{"models", std::move(models)}}.dump()};
}

Answer delete_model(Control& control, CallPtr call) {
  CO_TRY(Removal removal, read_removal(*call));
  auto work = [store = control.host.store(), removal] { return remove(store, removal); };
  Result<std::vector<catalog::VersionRecord>> removed = co_await in_pool(control, std::move(work));
  if (!removed) co_return Unexpected(removed.error());
  co_await refresh_catalog(control);
  Json listed = Json::array();
  for (const catalog::VersionRecord& record : *removed) {
    const Json version = {
        {"model", record.branch.model}, {"branch", record.branch.branch}, {"version", record.version}};
    listed.push_back(version);
    Json params = version;
    params["workspace"] = record.branch.workspace;
    // Stopping its replicas is no part of the answer: a node that is away learns of it when it comes back.
    control.host.call_node({.method = "forget",
                            .params = params.dump(),
                            .done = [](const Result<std::string>&) {},
                            .deadline = Deadline::after(mono_now(), seconds(60))});
  }
  co_return Reply{.body = Json{{"removed", std::move(listed)}}.dump()};
}

Answer get_cold_start(Control& control, CallPtr call) {
  CO_TRY(catalog::BranchRef branch, branch_of_query(*call, call->arguments[0]));
  CO_TRY(std::optional<uint64_t> version, number_of_query(*call, "version", UINT32_MAX));
  const std::shared_ptr<const catalog::Snapshot> snapshot = control.host.snapshot();
  if (!snapshot) co_return fail(ErrorCode::unavailable, "the catalog could not be read yet");
  Result<catalog::Resolved> known = snapshot->resolve(branch, version ? std::to_string(*version) : "latest");
  if (!known) co_return Unexpected(known.error());
  if (!control.host.node_connected()) co_return fail(ErrorCode::unavailable, "no node is connected");
  const Json wanted = {{"workspace", branch.workspace},
                       {"model", branch.model},
                       {"branch", branch.branch},
                       {"version", version.value_or(0)}};
  const std::string params = wanted.dump();
  Result<std::string> report = co_await ask_node(control, "start_report", params, nullptr, kReportPatience);
  if (!report) co_return Unexpected(report.error());
  co_return Reply{.body = std::move(*report)};
}

}  // namespace hearth::control
