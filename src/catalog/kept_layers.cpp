#include "catalog/kept_layers.hpp"

#include "catalog/image_record.hpp"
#include "catalog/store_keys.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>

namespace hearth::catalog {
namespace {

constexpr int kListAttempts = 5;

/// One branch as its listing tells it.
struct Listed {
  std::set<uint32_t> versions;
  std::set<uint32_t> removed;
  std::vector<std::pair<uint64_t, blob::ObjectInfo>> aliases;  // by generation
};

/// All but the highest.
void add_replaced(std::vector<std::pair<uint64_t, blob::ObjectInfo>>& generations, KeptLayers& kept) {
  if (generations.empty()) return;
  const auto highest = std::ranges::max_element(generations, {}, &std::pair<uint64_t, blob::ObjectInfo>::first);
  for (auto at = generations.begin(); at != generations.end(); ++at) {
    if (at != highest) kept.replaced.push_back(std::move(at->second));
  }
}

Result<std::vector<LayerRef>> layers_of_version(std::string_view record) {
  TRY(auto version, version_record_from_json(record));
  std::vector<LayerRef> layers = std::move(version.image.layers);
  for (const ArtifactMount& artifact : version.image.artifacts) layers.push_back(artifact.layer);
  return layers;
}

Result<std::vector<LayerRef>> layers_of_image(std::string_view record) {
  TRY(const auto image, image_record_from_json(record));
  return std::vector<LayerRef>{image.layer};
}

}  // namespace

std::string LayerUse::user() const {
  if (version == 0) return "image " + image;
  return fmt::format("model {}, branch {}, version {}", branch.model, branch.branch, version);
}

Result<KeptLayers> KeptLayerReader::workspace(std::string_view workspace) {
  KeptLayers kept;
  TRY_VOID(add_versions(workspace, kept));
  TRY_VOID(add_images(fmt::format("ws/{}/images/", workspace), kept));
  return kept;
}

Result<KeptLayers> KeptLayerReader::shared() {
  KeptLayers kept;
  TRY_VOID(add_images("shared/images/", kept));
  return kept;
}

/// A highest generation may be replaced and collected between the listing and our read: then there is a newer one.
Result<> KeptLayerReader::add_images(const std::string& prefix, KeptLayers& kept) {
  for (int attempt = 1;; ++attempt) {
    KeptLayers images;
    auto added = add_images_once(prefix, images);
    const bool replaced = !added && added.error().code == ErrorCode::not_found;
    if (replaced && attempt < kListAttempts) continue;
    if (!added) return added;
    std::ranges::move(images.uses, std::back_inserter(kept.uses));
    std::ranges::move(images.replaced, std::back_inserter(kept.replaced));
    return {};
  }
}

Result<> KeptLayerReader::add_versions(std::string_view workspace, KeptLayers& kept) {
  TRY(const auto objects, store_->list_objects(models_prefix(workspace)));
  std::map<BranchRef, Listed> branches;
  for (const blob::ObjectInfo& object : objects) {
    const auto parsed = parse_model_key(object.key);
    if (!parsed) continue;
    Listed& listed = branches[parsed->branch];
    if (parsed->kind == ModelObject::Kind::aliases) {
      listed.aliases.emplace_back(parsed->number, object);
    } else {
      auto& numbers = parsed->kind == ModelObject::Kind::version ? listed.versions : listed.removed;
      numbers.insert(static_cast<uint32_t>(parsed->number));
    }
  }
  for (auto& [branch, listed] : branches) {
    for (const uint32_t version : listed.versions) {
      if (listed.removed.contains(version)) continue;
      TRY(const Layers layers, layers_of(version_key(branch, version), layers_of_version));
      for (const LayerRef& layer : layers) {
        kept.uses.push_back({.branch = branch, .version = version, .image = "", .layer = layer});
      }
    }
    add_replaced(listed.aliases, kept);
  }
  return {};
}

Result<> KeptLayerReader::add_images_once(const std::string& prefix, KeptLayers& kept) {
  TRY(const auto objects, store_->list_objects(prefix));
  std::map<std::string, std::vector<std::pair<uint64_t, blob::ObjectInfo>>> names;
  for (const blob::ObjectInfo& object : objects) {
    const std::string_view name = std::string_view(object.key).substr(prefix.size());
    const size_t slash = name.find('/');
    if (slash == std::string_view::npos) continue;
    const auto generation = parse_generation(name.substr(slash + 1));
    if (generation) names[std::string(name.substr(0, slash))].emplace_back(*generation, object);
  }
  for (auto& [name, generations] : names) {
    const auto highest = std::ranges::max_element(generations, {}, &std::pair<uint64_t, blob::ObjectInfo>::first);
    TRY(const Layers layers, layers_of(highest->second.key, layers_of_image));
    for (const LayerRef& layer : layers) kept.uses.push_back({.branch = {}, .image = name, .layer = layer});
    add_replaced(generations, kept);
  }
  return {};
}

Result<KeptLayerReader::Layers> KeptLayerReader::layers_of(const std::string& key, LayersIn* layers_in) {
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = known_.find(key); found != known_.end()) return found->second;
  }
  auto text = store_->get(key);
  if (!text) return fail_with_context("read " + key, std::move(text).error());
  auto layers = layers_in(*text);
  if (!layers) return fail_with_context(key, std::move(layers).error());
  const std::lock_guard lock(mutex_);
  known_.emplace(key, *layers);
  return layers;
}

}  // namespace hearth::catalog
