#include "catalog/catalog.hpp"
#include "control/handed_intent.hpp"
#include "control/handlers.hpp"
#include "control/request_json.hpp"

#include <nlohmann/json.hpp>

#include <utility>

namespace hearth::control {
namespace {

using Json = nlohmann::json;

constexpr Duration kReportPatience = seconds(60);
constexpr Duration kImportPatience = std::chrono::hours(2);

struct Import {
  std::string workspace;
  std::string name;
  std::string params;
  std::vector<std::string> parts;
  std::shared_ptr<blob::Intent> uploads;  // keeps the parts until the node has used them; may be null
};

/// Blocking: a manifest may be large, and the store is asked for its parts.
Result<Import> read_import(blob::ObjectStore& store, UploadSessions& sessions, const AdminCall& call) {
  TRY(const Json body, body_object(call));
  Import out{.workspace = call.caller.workspace};
  TRY(out.name, text_member(body, "name"));
  TRY_VOID(catalog::check_image_name(out.name));
  const auto source = body.find("source");
  if (source == body.end() || !source->is_object()) {
    return fail(ErrorCode::invalid_argument, "\"source\" must be an object with \"kind\"");
  }
  TRY(const std::string kind, text_member(*source, "kind"));
  if (kind != "oci" && kind != "docker-archive" && kind != "docker") {
    return fail(ErrorCode::invalid_argument, "\"kind\" must be oci, docker-archive or docker");
  }
  if (const auto files = source->find("files"); files != source->end()) {
    TRY(out.parts, parts_of_manifest(*files));
  }
  TRY(out.uploads, upload_session(sessions, body, out.workspace));
  TRY_VOID(check_uploaded(store, out.workspace, out.parts));
  out.params = Json{{"workspace", out.workspace}, {"name", out.name}, {"source", *source}}.dump();
  return out;
}

net::Task<Result<std::string>> import_image(Control& control, std::shared_ptr<Import> import,
                                            std::shared_ptr<Operation> operation) {
  Result<std::string> answer = co_await ask_node(control, "import_image", import->params, operation, kImportPatience);
  co_await end_upload_session(control, std::move(import->uploads));
  if (!answer) co_return Unexpected(answer.error());
  CO_TRY(catalog::ImageRecord record, catalog::image_record_from_json(*answer));
  record.name = import->name;
  const HandedIntent intent = read_intent(Json::parse(*answer, nullptr, false), import->workspace);
  operation->add_phase("publish", "naming the image");
  auto name = [store = control.host.store(), import, record, intent]() -> Result<> {
    TRY_VOID(check_in_time(intent));
    auto named = catalog::Catalog(store).set_image({.workspace = import->workspace, .name = import->name}, record);
    end_handed(*store, intent);
    return named;
  };
  Result<> named = co_await in_pool(control, std::move(name));
  if (!named) co_return Unexpected(named.error());
  co_return catalog::image_record_to_json(record);
}

net::Task<> run_import(Control& control, std::shared_ptr<Import> import, std::shared_ptr<Operation> operation) {
  Result<std::string> result = co_await import_image(control, std::move(import), operation);
  if (result) {
    operation->succeed(*result);
  } else {
    operation->fail(result.error());
  }
}

}  // namespace

Answer post_image(Control& control, CallPtr call) {
  auto read = [store = control.host.store(), sessions = control.uploads, call]() -> Result<Import> {
    return read_import(*store, *sessions, *call);
  };
  Result<Import> wanted = co_await in_pool(control, std::move(read));
  if (!wanted) co_return Unexpected(wanted.error());
  const auto import = std::make_shared<Import>(std::move(*wanted));
  CO_TRY(std::shared_ptr<Operation> operation, control.operations.begin(call->caller.workspace));
  control.host.loop().spawn(run_import(control, import, operation));
  co_return Reply{.status = 202, .body = Json{{"operation", operation->id()}}.dump()};
}

Answer get_images(Control& control, CallPtr call) {
  auto list = [store = control.host.store(), workspace = call->caller.workspace] {
    return catalog::Catalog(store).list_images(workspace);
  };
  Result<std::vector<catalog::ImageRecord>> images = co_await in_pool(control, std::move(list));
  if (!images) co_return Unexpected(images.error());
  Json listed = Json::array();
  for (const catalog::ImageRecord& image : *images) {
    listed.push_back(Json::parse(catalog::image_record_to_json(image), nullptr, false));
  }
  co_return Reply{.body = Json{{"images", listed}}.dump()};
}

Answer get_image(Control& control, CallPtr call) {
  auto find = [store = control.host.store(), call] {
    return catalog::Catalog(store).find_image(call->caller.workspace, call->arguments[0]);
  };
  Result<catalog::ImageRecord> image = co_await in_pool(control, std::move(find));
  if (!image) co_return Unexpected(image.error());
  co_return Reply{.body = catalog::image_record_to_json(*image)};
}

Answer get_image_report(Control& control, CallPtr call) {
  if (!control.host.node_connected()) co_return fail(ErrorCode::unavailable, "no node is connected");
  const std::string params = Json{{"workspace", call->caller.workspace}, {"name", call->arguments[0]}}.dump();
  Result<std::string> report = co_await ask_node(control, "image_report", params, nullptr, kReportPatience);
  if (!report) co_return Unexpected(report.error());
  co_return Reply{.body = std::move(*report)};
}

}  // namespace hearth::control
