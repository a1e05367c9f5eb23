#include "catalog/version_record.hpp"

#include "catalog/image_record.hpp"
#include "catalog/json_fields.hpp"
#include "catalog/record_json.hpp"

#include <nlohmann/json.hpp>

#include <array>

namespace hearth::catalog {
namespace {

using nlohmann::json;

constexpr std::array<std::string_view, 4> kRoles = {"base", "packages", "code", "artifact"};

}  // namespace

std::string_view to_string(LayerRole role) {
  return kRoles.at(static_cast<size_t>(role));
}

json to_json_value(const LayerRef& layer) {
  return {{"digest", layer.digest.to_string()}, {"size", layer.size}, {"role", to_string(layer.role)}};
}

Result<> from_json_value(const json& value, LayerRef& layer) {
  JsonFields fields(value, "layer");
  fields.read("digest", layer.digest);
  fields.read("size", layer.size);
  size_t role = 0;
  fields.read_one_of("role", {kRoles.begin(), kRoles.end()}, role);
  layer.role = static_cast<LayerRole>(role);
  return fields.result();
}

json to_json_value(const ImageSpec& image) {
  json layers = json::array();
  for (const LayerRef& layer : image.layers) layers.push_back(to_json_value(layer));
  json artifacts = json::array();
  for (const ArtifactMount& artifact : image.artifacts) {
    artifacts.push_back({{"layer", to_json_value(artifact.layer)}, {"from", artifact.from}, {"to", artifact.to}});
  }
  return {{"layers", std::move(layers)},
          {"artifacts", std::move(artifacts)},
          {"env", image.env},
          {"python", image.python},
          {"uid", image.uid},
          {"gid", image.gid}};
}

Result<> from_json_value(const json& value, ImageSpec& image) {
  JsonFields fields(value, "image");
  image.layers.clear();
  for (const json& item : fields.list("layers")) {
    fields.check(from_json_value(item, image.layers.emplace_back()));
  }
  image.artifacts.clear();
  for (const json& item : fields.list("artifacts")) {
    ArtifactMount& artifact = image.artifacts.emplace_back();
    JsonFields mount(item, "artifact");
    mount.read("from", artifact.from);
    mount.read("to", artifact.to);
    mount.check(from_json_value(mount.nested("layer"), artifact.layer));
    fields.check(mount.result());
  }
  fields.read("env", image.env);
  fields.read("python", image.python);
  fields.read("uid", image.uid);
  fields.read("gid", image.gid);
  return fields.result();
}

std::string image_spec_to_json(const ImageSpec& image) {
  return dump(to_json_value(image));
}

Result<ImageSpec> image_spec_from_json(std::string_view text) {
  const json value = json::parse(text, nullptr, /*allow_exceptions=*/false);
  ImageSpec image;
  TRY_VOID(from_json_value(value, image));
  return image;
}

std::string version_record_to_json(const VersionRecord& record) {
  return dump({{"format", 1},
               {"workspace", record.branch.workspace},
               {"model", record.branch.model},
               {"branch", record.branch.branch},
               {"version", record.version},
               {"created", to_iso8601(record.created)},
               {"config", to_json_value(record.config)},
               {"image", to_json_value(record.image)}});
}

Result<VersionRecord> version_record_from_json(std::string_view text) {
  TRY(const json value, parse_stored(text, "version record"));
  VersionRecord record;
  JsonFields fields(value, "version record");
  fields.read("workspace", record.branch.workspace);
  fields.read("model", record.branch.model);
  fields.read("branch", record.branch.branch);
  fields.read("version", record.version);
  fields.read("created", record.created);
  fields.check(from_json_value(fields.nested("config"), record.config));
  fields.check(from_json_value(fields.nested("image"), record.image));
  TRY_VOID(fields.result());
  return record;
}

std::string image_record_to_json(const ImageRecord& record) {
  return dump({{"format", 1},
               {"name", record.name},
               {"layer", to_json_value(record.layer)},
               {"source", record.source},
               {"created", to_iso8601(record.created)},
               {"env", record.env},
               {"python", record.python},
               {"identity", record.identity},
               {"details", json::parse(record.details, nullptr, /*allow_exceptions=*/false)}});
}

Result<ImageRecord> image_record_from_json(std::string_view text) {
  TRY(const json value, parse_stored(text, "image record"));
  ImageRecord record;
  JsonFields fields(value, "image record");
  fields.read("name", record.name);
  fields.check(from_json_value(fields.nested("layer"), record.layer));
  fields.read("source", record.source);
  fields.read("created", record.created);
  fields.read("env", record.env);
  fields.read("python", record.python);
  fields.read("identity", record.identity);
  record.details = dump(fields.nested("details"));
  TRY_VOID(fields.result());
  return record;
}

}  // namespace hearth::catalog
