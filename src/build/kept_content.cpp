// What a build finds in the store and relies on.
#include "blob/object_store.hpp"
#include "build/build_steps.hpp"
#include "catalog/store_keys.hpp"
#include "image/store_scope.hpp"

#include <fmt/format.h>

#include <set>

namespace hearth::build {

image::BuildOptions layer_options(const StepContext& context) {
  image::BuildOptions options;
  options.stop = context.stop;
  options.intent = context.intent;
  options.catalogue = context.catalogue;
  return options;
}

Result<bool> keep_layer(const StepContext& context, const Digest& layer) {
  for (const auto& scope : image::StoreScope::lookup_order(context.workspace)) {
    const std::string key = scope.layer_key(layer);
    TRY(const auto size, context.config.store->size(key));
    if (!size) continue;
    TRY(const bool stays, context.intent->keep(key));
    if (stays) return true;
  }
  return false;
}

Result<> keep_uploads(const StepContext& context, const Manifest& files) {
  std::set<std::string> keys;
  for (const ManifestEntry& entry : files) {
    for (const Digest& part : entry.parts) keys.insert(catalog::upload_key(context.workspace, part.hex()));
  }
  TRY(const auto gone, context.intent->keep(std::vector<std::string>(keys.begin(), keys.end())));
  if (gone.empty()) return {};
  return fail(
      ErrorCode::not_found,
      fmt::format("{} uploaded parts were collected as garbage before they were used: deploy again", gone.size()));
}

}  // namespace hearth::build
