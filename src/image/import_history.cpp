#include "image/import_history.hpp"

#include "image/in_parallel.hpp"
#include "image/layer_index.hpp"
#include "oci/image_archive.hpp"

#include <string>
#include <utility>
#include <vector>

namespace hearth::image {

namespace {

/// Another number when an import of the same image makes another layer: the format of layers, or the rules of merging.
constexpr int kRecipe = 2;
constexpr unsigned kLookThreads = 16;

std::string record_key(const StoreScope& scope, const Digest& manifest) {
  // One list of manifests stands for other images on other machines.
  return scope.prefix() + "/imports/" + manifest.hex() + "/" + std::to_string(kRecipe) + "-" +
         std::string(oci::machine_architecture()) + ".json";
}

/// The key under which a pack is there; empty when it is nowhere.
Result<std::string> find_pack(blob::ObjectStore& store, const StoreScope& scope, const Digest& pack) {
  for (const StoreScope& place : {scope, StoreScope::shared()}) {
    std::string key = place.pack_key(pack);
    TRY(const auto size, store.size(key));
    if (size) return key;
  }
  return std::string();
}

/// Keys of the layer and its packs; empty when one of them is missing.
Result<std::vector<std::string>> find_layer(blob::ObjectStore& store, const StoreScope& scope, const Digest& layer) {
  std::vector<std::string> keys{scope.layer_key(layer)};
  auto bytes = store.get(keys.front());
  if (!bytes && bytes.error().code == ErrorCode::not_found) return std::vector<std::string>();
  if (!bytes) return Unexpected(std::move(bytes).error());
  const auto index = LayerIndex::decode(std::move(*bytes));
  if (!index || index->digest() != layer || !index->is_page_mapped()) return std::vector<std::string>();
  keys.resize(1 + size_t{index->pack_count()});
  TRY_VOID(in_parallel(index->pack_count(), kLookThreads, [&store, &scope, &index, &keys](size_t i) -> Result<> {
    TRY(keys[1 + i], find_pack(store, scope, index->pack(static_cast<uint32_t>(i)).digest));
    return {};
  }));
  for (const std::string& key : keys) {
    if (key.empty()) return std::vector<std::string>();
  }
  return keys;
}

}  // namespace

Result<std::optional<ImageRecord>> find_import(blob::ObjectStore& store, const StoreScope& scope,
                                               const Digest& manifest, blob::Intent& intent) {
  const std::string key = record_key(scope, manifest);
  auto bytes = store.get(key);
  if (!bytes && bytes.error().code == ErrorCode::not_found) return std::optional<ImageRecord>();
  if (!bytes) return fail_with_context("look for an earlier import", std::move(bytes).error());
  auto record = parse_image_record(*bytes);
  if (record) {
    TRY(const auto keys, find_layer(store, scope, record->layer.digest));
    TRY(const auto gone, intent.keep(keys));
    if (!keys.empty() && gone.empty()) return std::move(*record);
  }
  TRY_VOID(store.remove(key));  // it would stand in the way of the next one
  return std::optional<ImageRecord>();
}

Result<> remember_import(blob::ObjectStore& store, const StoreScope& scope, const ImageRecord& record,
                         std::span<const Digest> manifests) {
  for (const Digest& manifest : manifests) TRY_VOID(store.create(record_key(scope, manifest), to_json(record)));
  return {};
}

}  // namespace hearth::image
