#include "node/build_calls.hpp"

#include "node/json_fields.hpp"

#include <utility>

namespace hearth::node {

namespace {

using Json = nlohmann::json;
using ProgressText = std::function<void(std::string)>;

std::string progress_json(const build::Progress& progress) {
  Json event = {{"phase", progress.phase}};
  if (!progress.message.empty()) event["message"] = progress.message;
  if (!progress.log.empty()) event["log"] = progress.log;
  if (progress.total > 0) {
    event["done"] = progress.done;
    event["total"] = progress.total;
  }
  return to_text(event);
}

Result<build::Manifest> manifest_of(const Json& params) {
  const Json* files = field(params, "files");
  if (files == nullptr) return build::Manifest();
  return build::parse_manifest(to_text(*files));
}

Result<image::SourceKind> kind_of(const std::string& name) {
  if (name == "oci") return image::SourceKind::oci_layout;
  if (name == "docker-archive") return image::SourceKind::docker_archive;
  if (name == "docker") return image::SourceKind::registry;
  return fail(ErrorCode::invalid_argument, "'" + name + "' is no image source; known: oci, docker-archive, docker");
}

Result<std::string> build_version(build::Builder& builder, const std::string& params_json, const ProgressText& progress,
                                  const std::stop_token& stop) {
  const Json params = Json::parse(params_json, nullptr, false);
  build::BuildRequest request{.workspace = text_field(params, "workspace")};
  TRY(request.config, catalog::parse_model_config(text_field(params, "config_toml")));
  TRY(request.files, manifest_of(params));
  const auto sink = [&progress](const build::Progress& now) { progress(progress_json(now)); };
  TRY(build::BuildResult built, builder.build(request, sink, stop));
  const Json image = Json::parse(catalog::image_spec_to_json(built.image));
  return to_text({{"image", image}, {"stale_pyc", built.stale_pyc}});
}

Result<std::string> import_image(build::Builder& builder, const std::string& params_json, const ProgressText& progress,
                                 const std::stop_token& stop) {
  const Json params = Json::parse(params_json, nullptr, false);
  const Json* given = field(params, "source");
  const Json source = given != nullptr ? *given : Json::object();
  build::ImportRequest request{.workspace = text_field(params, "workspace"),
                               .name = text_field(params, "name"),
                               .tag = text_field(source, "tag"),
                               .reference = text_field(source, "reference")};
  TRY(request.kind, kind_of(text_field(source, "kind")));
  TRY(request.files, manifest_of(source));
  const auto sink = [&progress](const build::Progress& now) { progress(progress_json(now)); };
  TRY(const catalog::ImageRecord record, builder.import_image(request, sink, stop));
  return catalog::image_record_to_json(record);
}

}  // namespace

std::map<std::string, BlockingCall> build_calls(std::shared_ptr<build::Builder> builder, std::stop_token stop) {
  std::map<std::string, BlockingCall> calls;
  calls["build"] = [builder, stop](const std::string& params, const ProgressText& progress) {
    return build_version(*builder, params, progress, stop);
  };
  calls["import_image"] = [builder, stop](const std::string& params, const ProgressText& progress) {
    return import_image(*builder, params, progress, stop);
  };
  return calls;
}

}  // namespace hearth::node
