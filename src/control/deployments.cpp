#include "base/log.hpp"
#include "catalog/catalog.hpp"
#include "control/handed_intent.hpp"
#include "control/handlers.hpp"
#include "control/request_json.hpp"

#include <nlohmann/json.hpp>

#include <utility>

namespace hearth::control {
namespace {

using Json = nlohmann::json;

constexpr Duration kBuildPatience = std::chrono::hours(2);

/// A deployment as asked for, checked as far as it can be without building.
struct Deployment {
  catalog::BranchRef branch;
  catalog::ModelConfig config;
  std::string build_params;        // of the node's "build"
  std::vector<std::string> parts;  // uploads it needs
  std::string base_url;
  std::shared_ptr<blob::Intent> uploads;  // keeps the parts until the node has used them; may be null
};

/// Blocking: a manifest may be large, and the store is asked for its parts.
Result<Deployment> read_deployment(blob::ObjectStore& store, UploadSessions& sessions, const AdminCall& call,
                                   std::string base_url) {
  TRY(const Json body, body_object(call));
  TRY(const std::string toml, text_member(body, "config_toml"));
  TRY(const std::string branch_text, text_member(body, "branch"));
  Deployment out;
  TRY(out.config, catalog::parse_model_config(toml));
  out.branch = {.workspace = call.caller.workspace,
                .model = out.config.name,
                .branch = catalog::branch_from_segment(branch_text)};
  TRY_VOID(catalog::check_model_name(out.branch.model));
  TRY_VOID(catalog::check_branch_name(out.branch.branch));
  const Json files = body.value("files", Json::array());
  TRY(out.parts, parts_of_manifest(files));
  out.build_params = Json{
      {"workspace", out.branch.workspace},
      {"model", out.branch.model},
      {"branch", out.branch.branch},
      {"config_toml", toml},
      {"files", files}}.dump();
  TRY(out.uploads, upload_session(sessions, body, out.branch.workspace));
  TRY_VOID(check_uploaded(store, out.branch.workspace, out.parts));
  out.base_url = std::move(base_url);
  if (out.base_url.empty()) {
    out.base_url = "http://" + std::string(call.request.headers.find("Host").value_or("localhost"));
  }
  return out;
}

std::string result_json(const Deployment& deployment, const catalog::VersionRecord& record, const Json& built) {
  Json result = {{"workspace", record.branch.workspace},
                 {"model", record.branch.model},
                 {"branch", record.branch.branch},
                 {"version", record.version},
                 {"url", deployment.base_url + "/v1/" + record.branch.model + "/" +
                             catalog::branch_to_segment(record.branch.branch) + "/" + std::to_string(record.version)}};
  if (built.contains("stale_pyc")) result["stale_pyc"] = built["stale_pyc"];
  return result.dump();
}

/// Builds on a node, then writes the version. Nothing is left half-made: the version appears with its last step.
net::Task<Result<std::string>> deploy(Control& control, std::shared_ptr<Deployment> deployment,
                                      std::shared_ptr<Operation> operation) {
  Result<std::string> answer = co_await ask_node(control, "build", deployment->build_params, operation, kBuildPatience);
  co_await end_upload_session(control, std::move(deployment->uploads));
  if (!answer) co_return Unexpected(answer.error());
  const Json built = Json::parse(*answer, nullptr, false);
  const HandedIntent intent = read_intent(built, deployment->branch.workspace);
  if (!built.is_object() || !built.contains("image")) {
    co_return fail(ErrorCode::internal, "the node built no image: " + answer->substr(0, 200));
  }
  CO_TRY(catalog::ImageSpec image, catalog::image_spec_from_json(built["image"].dump()));
  operation->add_phase("publish", "creating the version");
  auto create = [store = control.host.store(), deployment, intent,
                 image = std::move(image)]() mutable -> Result<catalog::VersionRecord> {
    TRY_VOID(check_in_time(intent));
    auto created = catalog::Catalog(store).create_version(
        {.branch = deployment->branch, .config = deployment->config, .image = std::move(image)});
    end_handed(*store, intent);
    return created;
  };
  Result<catalog::VersionRecord> record = co_await in_pool(control, std::move(create));
  if (!record) co_return Unexpected(record.error());
  co_await refresh_catalog(control);
  // It starts in the background, so that the first call finds it warm or warming.
  control.host.warm(record->branch, record->version);
  log_info("deployed", {{"workspace", record->branch.workspace},
                        {"model", record->branch.model},
                        {"branch", record->branch.branch},
                        {"version", record->version}});
  co_return result_json(*deployment, *record, built);
}

net::Task<> run_deployment(Control& control, std::shared_ptr<Deployment> deployment,
                           std::shared_ptr<Operation> operation) {
  Result<std::string> result = co_await deploy(control, std::move(deployment), operation);
  if (result) {
    operation->succeed(*result);
  } else {
    operation->fail(result.error());
  }
}

}  // namespace

Answer post_deployment(Control& control, CallPtr call) {
  auto read = [store = control.host.store(), sessions = control.uploads, call,
               url = control.host.public_url()]() -> Result<Deployment> {
    return read_deployment(*store, *sessions, *call, url);
  };
  Result<Deployment> wanted = co_await in_pool(control, std::move(read));
  if (!wanted) co_return Unexpected(wanted.error());
  const auto deployment = std::make_shared<Deployment>(std::move(*wanted));
  CO_TRY(std::shared_ptr<Operation> operation, control.operations.begin(call->caller.workspace));
  control.host.loop().spawn(run_deployment(control, deployment, operation));
  co_return Reply{.status = 202, .body = Json{{"operation", operation->id()}}.dump()};
}

}  // namespace hearth::control
