// Catalog's part about image names.
#include "blob/object_store.hpp"
#include "catalog/catalog.hpp"
#include "catalog/store_keys.hpp"

#include <fmt/format.h>

#include <map>

namespace hearth::catalog {
namespace {

constexpr int kAttempts = 1'000;

std::string images_prefix(ImageScope scope, std::string_view workspace) {
  return scope == ImageScope::shared ? "shared/images/" : fmt::format("ws/{}/images/", workspace);
}

Result<std::string> image_prefix(const ImageKey& key) {
  TRY_VOID(check_image_name(key.name));
  if (key.scope == ImageScope::workspace) TRY_VOID(check_workspace_name(key.workspace));
  return images_prefix(key.scope, key.workspace) + key.name + "/";
}

/// Highest generation of one name; 0 without any.
Result<uint64_t> highest_generation(blob::ObjectStore& store, const std::string& prefix) {
  TRY(const auto keys, store.list(prefix));
  uint64_t highest = 0;
  for (std::string_view key : keys) {
    if (const auto generation = parse_generation(key.substr(prefix.size()))) highest = std::max(highest, *generation);
  }
  return highest;
}

Result<ImageRecord> read_generation(blob::ObjectStore& store, const std::string& prefix, uint64_t generation) {
  const std::string key = fmt::format("{}{}.json", prefix, generation);
  TRY(const std::string text, store.get(key));
  auto record = image_record_from_json(text);
  if (!record) return fail_with_context(key, std::move(record).error());
  return record;
}

}  // namespace

Result<> Catalog::set_image(const ImageKey& key, const ImageRecord& record) {
  TRY(const std::string prefix, image_prefix(key));
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    TRY(const uint64_t generation, highest_generation(*store_, prefix));
    const std::string next = fmt::format("{}{}.json", prefix, generation + 1);
    TRY(const auto created, store_->create(next, image_record_to_json(record)));
    if (created == blob::Created::yes) return {};
  }
  return fail(ErrorCode::unavailable, "name the image: too many writers at once, try again");
}

Result<ImageRecord> Catalog::image(const ImageKey& key) {
  TRY(const std::string prefix, image_prefix(key));
  TRY(const uint64_t generation, highest_generation(*store_, prefix));
  if (generation == 0) {
    return fail(ErrorCode::not_found,
                fmt::format("no image named {}: import it with hearth image import SOURCE {}", key.name, key.name));
  }
  return read_generation(*store_, prefix, generation);
}

Result<ImageRecord> Catalog::find_image(std::string_view workspace, std::string_view name) {
  auto own = image({ImageScope::workspace, std::string(workspace), std::string(name)});
  if (own || own.error().code != ErrorCode::not_found) return own;
  auto shared = image({ImageScope::shared, "", std::string(name)});
  if (shared || shared.error().code != ErrorCode::not_found) return shared;
  return own;
}

Result<std::vector<ImageRecord>> Catalog::list_images(std::string_view workspace) {
  TRY_VOID(check_workspace_name(workspace));
  std::map<std::string, ImageRecord> by_name;  // the workspace's own stand before the shared ones
  for (ImageScope scope : {ImageScope::workspace, ImageScope::shared}) {
    const std::string prefix = images_prefix(scope, workspace);
    TRY(const auto keys, store_->list(prefix));
    std::map<std::string, uint64_t> generations;
    for (std::string_view key : keys) {
      key.remove_prefix(prefix.size());
      const size_t slash = key.find('/');
      if (slash == std::string_view::npos) continue;
      const auto generation = parse_generation(key.substr(slash + 1));
      if (!generation) continue;
      uint64_t& highest = generations[std::string(key.substr(0, slash))];
      highest = std::max(highest, *generation);
    }
    for (const auto& [name, generation] : generations) {
      if (by_name.contains(name)) continue;
      TRY(ImageRecord record, read_generation(*store_, prefix + name + "/", generation));
      by_name.emplace(name, std::move(record));
    }
  }
  std::vector<ImageRecord> images;
  images.reserve(by_name.size());
  for (auto& [name, record] : by_name) images.push_back(std::move(record));
  return images;
}

}  // namespace hearth::catalog
