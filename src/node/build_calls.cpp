#include "node/build_calls.hpp"

#include "catalog/image_record.hpp"
#include "catalog/model_config.hpp"
#include "catalog/names.hpp"
#include "node/json_fields.hpp"

#include <utility>

namespace hearth::node {

namespace {

std::string progress_json(const build::Progress& progress) {
  nlohmann::json json = {{"phase", progress.phase}};
  if (!progress.message.empty()) json["message"] = progress.message;
  if (progress.total > 0) {
    json["done"] = progress.done;
    json["total"] = progress.total;
  }
  if (!progress.log.empty()) json["log"] = progress.log;
  return to_text(json);
}

Result<build::Manifest> files_of(const nlohmann::json& json) {
  const nlohmann::json* files = field(json, "files");
  return build::parse_manifest(files == nullptr ? "[]" : to_text(*files));
}

Result<std::string> run_build(build::Builder& builder, const nlohmann::json& params, const CallControl& control) {
  build::BuildRequest request;
  request.workspace = text_field(params, "workspace");
  TRY_VOID(catalog::check_workspace_name(request.workspace));
  TRY(request.config, catalog::parse_model_config(text_field(params, "config_toml")));
  TRY(request.files, files_of(params));
  TRY(const build::BuildResult built,
      builder.build(
          request, [&control](const build::Progress& progress) { control.progress(progress_json(progress)); },
          control.stop));
  return to_text({{"image", nlohmann::json::parse(catalog::image_spec_to_json(built.image))},
                  {"stale_pyc", built.stale_pyc},
                  {"intent", built.intent}});
}

Result<std::string> run_import(build::Builder& builder, const nlohmann::json& params, const CallControl& control) {
  build::ImportRequest request;
  request.workspace = text_field(params, "workspace");
  request.name = text_field(params, "name");
  TRY_VOID(catalog::check_workspace_name(request.workspace));
  TRY_VOID(catalog::check_image_name(request.name));
  const nlohmann::json* given = field(params, "source");
  const nlohmann::json source = given == nullptr ? nlohmann::json::object() : *given;
  const std::string kind = text_field(source, "kind");
  if (kind == "oci") {
    request.kind = image::SourceKind::oci_layout;
  } else if (kind == "docker-archive") {
    request.kind = image::SourceKind::docker_archive;
  } else if (kind == "docker") {
    request.kind = image::SourceKind::registry;
  } else {
    return fail(ErrorCode::invalid_argument, "the kind of an image source is oci, docker-archive or docker");
  }
  request.tag = text_field(source, "tag");
  request.reference = text_field(source, "reference");
  if (const std::string config = text_field(source, "config"); !config.empty()) {
    TRY(request.known, Digest::parse(config));
  }
  TRY(request.files, files_of(source));
  TRY(const build::ImportResult imported,
      builder.import_image(
          request, [&control](const build::Progress& progress) { control.progress(progress_json(progress)); },
          control.stop));
  nlohmann::json json = nlohmann::json::parse(catalog::image_record_to_json(imported.record));
  json["intent"] = imported.intent;
  return to_text(json);
}

using Method = Result<std::string> (*)(build::Builder&, const nlohmann::json&, const CallControl&);

BlockingCall bound(std::shared_ptr<build::Builder> builder, Method method) {
  return [builder = std::move(builder), method](const std::string& params, const CallControl& control) {
    return method(*builder, nlohmann::json::parse(params, nullptr, false), control);
  };
}

}  // namespace

std::map<std::string, BlockingCall> build_calls(const std::shared_ptr<build::Builder>& builder) {
  return {{"build", bound(builder, run_build)}, {"import_image", bound(builder, run_import)}};
}

}  // namespace hearth::node
