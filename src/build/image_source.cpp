#include "build/build_steps.hpp"
#include "build/python_finder.hpp"
#include "build/uploaded_layout.hpp"

#include <fmt/format.h>

namespace hearth::build {

Result<> use_upload(const StepContext& context, const Manifest& files, image::ImportSource& source) {
  if (source.kind == image::SourceKind::oci_layout) {
    source.files = uploaded_layout(context.config.store, context.workspace, files);
    return {};
  }
  const std::filesystem::path folder = context.work / "source";
  context.progress({.phase = "import", .message = "reading the upload"});
  TRY_VOID(materialize(*context.config.store, context.workspace, files, folder));
  source.path = folder / files.front().path;
  return {};
}

uint64_t stale_pyc_of(const catalog::ImageRecord& image) {
  const auto details = image::parse_image_record(image.details);
  return details ? details->layer.stale_pyc : 0;
}

Result<catalog::ImageRecord> import_source(const StepContext& context, const image::ImportSource& source) {
  const std::string named = image::to_string(source);
  context.progress({.phase = "import", .message = "importing " + named});
  image::ImportOptions options;
  options.work_directory = context.work;
  options.stop = context.stop;
  options.intent = context.intent;
  options.catalogue = context.catalogue;
  options.progress = [&context](const image::ImportProgress& progress) {
    context.progress({.phase = "import",
                      .message = std::string(progress.message.empty() ? progress.phase : progress.message),
                      .done = progress.done,
                      .total = progress.total});
  };
  auto made =
      image::import_image(context.config.store, image::StoreScope::workspace(context.workspace), source, options);
  // What is not found of an upload are its parts.
  if (source.kind == image::SourceKind::registry) made = existing(std::move(made));
  TRY(const image::ImageRecord imported, std::move(made));

  catalog::ImageRecord record;
  record.layer = {imported.layer.digest, imported.layer.content_bytes, catalog::LayerRole::base};
  record.source = source.kind == image::SourceKind::registry ? "docker://" + source.reference : named;
  record.created = wall_now();
  for (const std::string& entry : imported.env) {
    const size_t equals = entry.find('=');
    if (equals != std::string::npos) record.env[entry.substr(0, equals)] = entry.substr(equals + 1);
  }
  record.identity = imported.manifest.to_string();
  record.details = image::to_json(imported);
  TRY(const UniqueFd root, context.config.mount_layer(context.workspace, record.layer.digest));
  record.python = find_python(root.get(), record.env);
  return record;
}

}  // namespace hearth::build
