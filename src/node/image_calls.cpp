#include "node/image_calls.hpp"

#include "catalog/catalog.hpp"
#include "catalog/names.hpp"
#include "image/layer_reader.hpp"
#include "image/layer_report.hpp"
#include "image/profile.hpp"
#include "node/json_fields.hpp"

#include <set>
#include <tuple>
#include <utility>

namespace hearth::node {

namespace {

using Json = nlohmann::json;

/// Somebody else's layer.
struct Other {
  std::string user;  // "image python", "model digits"
  Digest layer;
  bool operator<(const Other& other) const { return std::tie(user, layer) < std::tie(other.user, other.layer); }
};

/// Of the other images and of all live versions, without the layer itself.
Result<std::set<Other>> other_layers(catalog::Catalog& catalog, const std::string& workspace, const Digest& layer) {
  std::set<Other> others;
  TRY(const auto images, catalog.list_images(workspace));
  for (const auto& image : images) others.insert({"image " + image.name, image.layer.digest});
  TRY(const auto branches, catalog.branches(workspace));
  for (const auto& [branch, state] : branches) {
    for (const auto& [number, version] : state.versions) {
      const std::string user = "model " + branch.model;
      for (const auto& used : version->image.layers) others.insert({user, used.digest});
      for (const auto& artifact : version->image.artifacts) others.insert({user, artifact.layer.digest});
    }
  }
  std::erase_if(others, [&layer](const Other& other) { return other.layer == layer; });
  return others;
}

/// Who has this very layer: versions built on the image, other names of it.
Result<std::set<std::string>> users_of(catalog::Catalog& catalog, const std::string& workspace,
                                       const catalog::ImageRecord& image) {
  std::set<std::string> users;
  TRY(const auto images, catalog.list_images(workspace));
  for (const auto& other : images) {
    if (other.layer.digest == image.layer.digest && other.name != image.name) users.insert("image " + other.name);
  }
  TRY(const auto branches, catalog.branches(workspace));
  for (const auto& [branch, state] : branches) {
    for (const auto& [number, version] : state.versions) {
      for (const auto& used : version->image.layers) {
        if (used.digest == image.layer.digest) users.insert("model " + branch.model);
      }
    }
  }
  return users;
}

Json shared_json(const image::SharedContent& shared) {
  return {{"chunks", shared.chunks},
          {"plain_bytes", shared.unique_bytes},
          {"stored_bytes", shared.stored_bytes},
          {"stored_once_bytes", shared.same_place_bytes}};
}

/// Reads the other layers one after another, each once.
Result<Json> sharing_json(const std::shared_ptr<blob::ObjectStore>& store, const std::string& workspace,
                          const image::LayerIndex& layer, const CallControl& control) {
  catalog::Catalog catalog(store);
  TRY(const auto others, other_layers(catalog, workspace, layer.digest()));
  std::map<Digest, Json> users;
  for (const Other& other : others) users.try_emplace(other.layer, Json::array()).first->second.push_back(other.user);
  image::SharingSurvey survey(layer);
  Json with = Json::array();
  size_t compared = 0;
  uint64_t read_bytes = 0;
  for (const auto& [digest, names] : users) {
    if (control.stop.stop_requested()) return fail(ErrorCode::cancelled, "the report is wanted no longer");
    if (compared == kComparedLayers || read_bytes >= kComparedIndexBytes) break;
    auto other = image::LayerReader::open(store, workspace, digest);
    ++compared;
    if (!other) continue;  // removed meanwhile, or damaged: not this image's concern
    read_bytes += other->index().index_bytes();
    Json entry = shared_json(survey.compare(other->index()));
    if (entry["chunks"] == 0) continue;
    entry["layer"] = digest.to_string();
    entry["users"] = names;
    with.push_back(std::move(entry));
  }
  return Json{{"with", std::move(with)},
              {"any", shared_json(survey.with_any())},
              {"compared_layers", compared},
              {"left_out_layers", users.size() - compared}};
}

Json profile_json(const image::Profile& profile) {
  Json json = {
      {"key", profile.key}, {"generation", profile.generation}, {"starts", profile.starts}, {"bundle", nullptr}};
  if (profile.bundle) {
    json["bundle"] = {{"digest", profile.bundle->digest.to_string()},
                      {"bytes", profile.bundle->bytes},
                      {"streamed_bytes", profile.bundle->streamed_bytes},
                      {"plain_bytes", profile.bundle->plain_bytes},
                      {"pages", profile.bundle->plain_bytes / image::kPageBytes}};
  }
  if (!profile.recent.empty()) {
    const image::StartFigures& last = profile.recent.back();
    json["last"] = {{"at", to_iso8601(last.at)},         {"asked_bytes", last.asked_bytes},
                    {"recall", last.met.recall},         {"precision", last.met.precision},
                    {"demand_waits", last.demand_waits}, {"waited_ms", last.waited_ms}};
  }
  return json;
}

Json layer_json(const catalog::LayerRef& layer, const image::LayerReport& report) {
  return {{"role", catalog::to_string(layer.role)},
          {"digest", report.digest.to_string()},
          {"format", report.format},
          {"files", report.files},
          {"directories", report.directories},
          {"others", report.others},
          {"content_bytes", report.content_bytes},
          {"unique_bytes", report.unique_bytes},
          {"stored_bytes", report.stored_bytes},
          {"index_bytes", report.index_bytes},
          {"compression_ratio", report.compression_ratio()},
          {"chunks", report.chunks},
          {"compressed_chunks", report.compressed_chunks},
          {"packs", report.packs}};
}

Result<std::string> image_report(const std::shared_ptr<blob::ObjectStore>& store, const Json& params,
                                 const CallControl& control) {
  const std::string workspace = text_field(params, "workspace");
  TRY_VOID(catalog::check_workspace_name(workspace));
  catalog::Catalog catalog(store);
  TRY(const catalog::ImageRecord image, catalog.find_image(workspace, text_field(params, "name")));
  TRY(const auto reader, image::LayerReader::open(store, workspace, image.layer.digest));
  Json layer = layer_json(image.layer, image::report_layer(reader.index()));
  TRY(layer["shared"], sharing_json(store, workspace, reader.index(), control));
  TRY(layer["users"], users_of(catalog, workspace, image));
  TRY(const auto profiles, image::list_profiles(*store, image::StoreScope::workspace(workspace), image.layer.digest));
  Json told = Json::array();
  for (const image::Profile& profile : profiles) told.push_back(profile_json(profile));
  return to_text({{"layers", Json::array({std::move(layer)})}, {"profiles", std::move(told)}});
}

}  // namespace

std::map<std::string, BlockingCall> image_calls(std::shared_ptr<blob::ObjectStore> store) {
  return {{"image_report", [store = std::move(store)](const std::string& params, const CallControl& control) {
             return image_report(store, Json::parse(params, nullptr, false), control);
           }}};
}

}  // namespace hearth::node
