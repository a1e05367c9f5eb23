#include "build/layer_cache.hpp"

#include "blob/object_store.hpp"
#include "build/build_steps.hpp"
#include "image/store_scope.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace hearth::build {
namespace {

using nlohmann::json;

std::string cache_prefix(std::string_view workspace) {
  return fmt::format("ws/{}/build-cache/", workspace);
}

std::string object_key(const StepContext& context, const std::string& key) {
  return fmt::format("{}{}.json", cache_prefix(context.workspace), Digest::of(key).hex());
}

std::optional<BuiltLayer> parse(const std::string& text) {
  const json value = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!value.is_object() || value.value("format", 0) != 1) return std::nullopt;
  for (const char* number : {"size", "stale_pyc", "role"}) {
    if (!value.contains(number) || !value[number].is_number_unsigned()) return std::nullopt;
  }
  if (!value.contains("digest") || !value["digest"].is_string()) return std::nullopt;
  const auto digest = Digest::parse(value["digest"].get_ref<const std::string&>());
  if (!digest || value["role"].get<unsigned>() > static_cast<unsigned>(catalog::LayerRole::artifact))
    return std::nullopt;
  return BuiltLayer{{*digest, value["size"].get<uint64_t>(), static_cast<catalog::LayerRole>(value["role"].get<int>())},
                    value["stale_pyc"].get<uint64_t>()};
}

}  // namespace

Result<std::optional<BuiltLayer>> find_cached(const StepContext& context, const std::string& key) {
  auto text = context.config.store->get(object_key(context, key));
  if (!text && text.error().code == ErrorCode::not_found) return std::optional<BuiltLayer>();
  if (!text) return fail_with_context("look for an earlier layer", std::move(text).error());
  std::optional<BuiltLayer> found = parse(*text);
  if (found) {
    TRY(const bool stays, keep_layer(context, found->layer.digest));
    if (stays) return found;
  }
  TRY_VOID(context.config.store->remove(object_key(context, key)));  // its layer is gone: it would stand in the way
  return std::optional<BuiltLayer>();
}

Result<> remember(const StepContext& context, const std::string& key, const BuiltLayer& built) {
  const json value = {{"format", 1},
                      {"digest", built.layer.digest.to_string()},
                      {"size", built.layer.size},
                      {"role", static_cast<unsigned>(built.layer.role)},
                      {"stale_pyc", built.stale_pyc},
                      {"made", to_iso8601(wall_now())}};
  TRY_VOID(context.config.store->create(object_key(context, key), value.dump()));
  return {};
}

Result<std::vector<CachedLayer>> list_cached(blob::ObjectStore& store, std::string_view workspace) {
  TRY(auto objects, store.list_objects(cache_prefix(workspace)));
  std::vector<CachedLayer> cached;
  for (blob::ObjectInfo& object : objects) {
    auto text = store.get(object.key);
    if (!text && text.error().code == ErrorCode::not_found) continue;  // removed since
    if (!text) return fail_with_context("read " + object.key, std::move(text).error());
    const std::optional<BuiltLayer> built = parse(*text);
    cached.push_back({std::move(object), built ? std::optional(built->layer.digest) : std::nullopt});
  }
  return cached;
}

Result<std::vector<UniqueFd>> mount_layers(const StepContext& context, const std::vector<catalog::LayerRef>& layers) {
  std::vector<UniqueFd> mounts;
  for (const catalog::LayerRef& layer : layers) {
    TRY(UniqueFd mount, context.config.mount_layer(context.workspace, layer.digest));
    mounts.push_back(std::move(mount));
  }
  return mounts;
}

std::vector<std::string> environment_list(const std::map<std::string, std::string>& env) {
  std::vector<std::string> list;
  list.reserve(env.size());
  for (const auto& [name, value] : env) list.push_back(name + "=" + value);
  return list;
}

}  // namespace hearth::build
