#include "image/store_survey.hpp"

#include "image/import.hpp"
#include "image/in_parallel.hpp"
#include "image/layer_leases.hpp"
#include "image/layer_packs.hpp"
#include "image/profile.hpp"

#include <algorithm>
#include <charconv>
#include <map>
#include <mutex>
#include <optional>

namespace hearth::image {
namespace {

constexpr std::string_view kWorkspaces = "ws/";

std::string_view workspace_of(const StoreScope& scope) {
  return std::string_view(scope.prefix()).substr(kWorkspaces.size());
}

bool is_shared(const StoreScope& scope) {
  return scope == StoreScope::shared();
}

/// Where content that `scope` refers to may lie.
std::vector<StoreScope> lookup_order(const StoreScope& scope) {
  if (is_shared(scope)) return {scope};
  return StoreScope::lookup_order(workspace_of(scope));
}

/// "<layer hex>/<key>/<g>.json", as profiles are named.
struct ProfileName {
  Digest layer;
  std::string_view folder;  // "<layer hex>/<key>"
  uint64_t generation = 0;
};

std::optional<ProfileName> parse_profile_name(std::string_view name) {
  constexpr std::string_view kEnding = ".json";
  const size_t slash = name.rfind('/');
  if (slash == std::string_view::npos || !name.ends_with(kEnding)) return std::nullopt;
  const auto layer = Digest::parse(name.substr(0, name.find('/')));
  if (!layer) return std::nullopt;
  const std::string_view digits = name.substr(slash + 1, name.size() - slash - 1 - kEnding.size());
  ProfileName out{.layer = *layer, .folder = name.substr(0, slash)};
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), out.generation);
  if (parsed.ec != std::errc{} || parsed.ptr != digits.data() + digits.size()) return std::nullopt;
  return out;
}

std::vector<std::string> pack_keys(const StoreScope& scope, const Digest& digest) {
  std::vector<std::string> keys;
  for (const StoreScope& place : lookup_order(scope)) keys.push_back(place.pack_key(digest));
  return keys;
}

}  // namespace

std::vector<std::string> layer_keys(const StoreScope& scope, const Digest& digest) {
  std::vector<std::string> keys;
  for (const StoreScope& place : lookup_order(scope)) keys.push_back(place.layer_key(digest));
  return keys;
}

Result<std::vector<StoreScope>> list_scopes(blob::ObjectStore& store) {
  TRY(const auto names, store.folders(kWorkspaces));
  std::vector<StoreScope> scopes;
  for (const std::string& name : names) scopes.push_back(StoreScope::workspace(name));
  scopes.push_back(StoreScope::shared());
  return scopes;
}

Result<> StoreSurveyor::check_stop() const {
  if (options_.stop.stop_requested()) return fail(ErrorCode::cancelled, "looking at the store was stopped");
  return {};
}

Result<> StoreSurveyor::for_each(size_t count, const std::function<Result<>(size_t)>& work) const {
  return in_parallel(count, options_.threads, [this, &work](size_t i) -> Result<> {
    TRY_VOID(check_stop());
    return work(i);
  });
}

/// Who may refer to what lies in the scope.
Result<std::vector<StoreScope>> StoreSurveyor::referring(const StoreScope& scope) const {
  if (is_shared(scope)) return list_scopes(*store_);
  return std::vector{scope};
}

Result<std::vector<blob::IntentState>> StoreSurveyor::writers(const StoreScope& scope) const {
  TRY(const auto referring, this->referring(scope));
  std::vector<blob::IntentState> all;
  for (const StoreScope& from : referring) {
    if (is_shared(from)) continue;  // writers belong to workspaces
    TRY(auto found, blob::read_intents(*store_, workspace_of(from)));
    std::ranges::move(found, std::back_inserter(all));
  }
  return all;
}

Result<Survey> StoreSurveyor::look(const StoreScope& scope) const {
  Survey survey;
  TRY(survey.writers, writers(scope));
  // Listed after the writers were: a workspace that came into being since has writers that see what is being deleted.
  TRY(const auto referring, this->referring(scope));
  const WallTime now = options_.time.wall();
  for (const blob::IntentState& writer : survey.writers) {
    if (writer.alive(now)) survey.picture.roots.insert(writer.keeps.begin(), writer.keeps.end());
  }
  for (const StoreScope& from : referring) TRY_VOID(add_roots(from, scope, survey));
  // After the roots: a layer is leased while a root names it.
  for (const StoreScope& from : referring) {
    if (is_shared(from)) continue;
    TRY(Leases leases, read_leases(*store_, workspace_of(from), now));
    for (const Digest& layer : leases.layers) {
      for (std::string& key : layer_keys(from, layer)) survey.leased.insert(std::move(key));
    }
    std::ranges::move(leases.void_records, std::back_inserter(survey.void_leases));
  }
  for (const StoreScope& from : referring) TRY_VOID(add_layers(from, survey));
  TRY_VOID(add_plain(scope.prefix() + "/packs/", ObjectKind::pack, survey));
  TRY_VOID(add_plain(scope.prefix() + "/bundles/", ObjectKind::bundle, survey));
  if (!is_shared(scope)) TRY_VOID(add_plain(scope.prefix() + "/uploads/", ObjectKind::upload, survey));
  TRY_VOID(add_imports(scope, survey));
  TRY_VOID(add_profiles(scope, survey));
  return survey;
}

Result<> StoreSurveyor::add_roots(const StoreScope& from, const StoreScope& scope, Survey& survey) const {
  TRY_VOID(check_stop());
  auto found = roots_(from);
  if (!found) return fail_with_context("see what " + from.prefix() + " refers to", std::move(found).error());
  for (const Digest& layer : found->layers) {
    for (std::string& key : layer_keys(from, layer)) survey.picture.roots.insert(std::move(key));
  }
  if (from != scope) return {};
  std::ranges::move(found->servants, std::back_inserter(survey.picture.objects));
  std::ranges::move(found->replaced, std::back_inserter(survey.picture.objects));
  return {};
}

Result<> StoreSurveyor::add_layers(const StoreScope& from, Survey& survey) const {
  TRY(const auto indexes, store_->list_objects(from.prefix() + "/layers/"));
  std::mutex mutex;  // guards `survey`
  return for_each(indexes.size(), [&](size_t i) -> Result<> {
    StoredObject layer{.key = indexes[i].key, .size = indexes[i].size, .kind = ObjectKind::layer};
    const auto packs = read_layer_packs(*store_, indexes[i]);
    if (!packs && packs.error().code == ErrorCode::not_found) return {};  // deleted since
    if (!packs && packs.error().code != ErrorCode::corrupt) {
      return fail_with_context("read " + layer.key, packs.error());
    }
    if (packs) {
      layer.content_bytes = packs->content_bytes;
      for (const LayerPacks::Pack& pack : packs->packs) {
        for (std::string& key : pack_keys(from, pack.digest)) layer.needs.push_back(std::move(key));
      }
    }
    layer.needs_unknown = !packs;
    const std::lock_guard lock(mutex);
    if (!packs) survey.problems.push_back(layer.key + ": " + packs.error().message);
    survey.picture.objects.push_back(std::move(layer));
    return {};
  });
}

/// What an imported image became serves that layer; a record that cannot be read serves nothing.
Result<> StoreSurveyor::add_imports(const StoreScope& scope, Survey& survey) const {
  TRY(const auto objects, store_->list_objects(scope.prefix() + "/imports/"));
  std::vector<StoredObject> records(objects.size());
  TRY_VOID(for_each(objects.size(), [&](size_t i) -> Result<> {
    records[i] = {.key = objects[i].key, .size = objects[i].size, .kind = ObjectKind::import_record};
    auto text = store_->get(objects[i].key);
    if (!text && text.error().code == ErrorCode::not_found) return {};  // removed since
    if (!text) return fail_with_context("read " + objects[i].key, std::move(text).error());
    if (const auto record = parse_image_record(*text)) records[i].serves = layer_keys(scope, record->layer.digest);
    return {};
  }));
  std::ranges::move(records, std::back_inserter(survey.picture.objects));
  return {};
}

/// A profile serves its layer, and keeps its bundle, if it is one of the newest of its key.
Result<> StoreSurveyor::add_profiles(const StoreScope& scope, Survey& survey) const {
  const std::string prefix = scope.prefix() + "/profiles/";
  TRY(const auto objects, store_->list_objects(prefix));
  std::map<std::string_view, std::vector<std::pair<uint64_t, size_t>>> folders;  // generation, number of the object
  std::vector<StoredObject> profiles;
  for (const blob::ObjectInfo& object : objects) {
    const auto name = parse_profile_name(std::string_view(object.key).substr(prefix.size()));
    if (!name) continue;
    folders[name->folder].emplace_back(name->generation, profiles.size());
    profiles.push_back({.key = object.key,
                        .size = object.size,
                        .kind = ObjectKind::profile,
                        .serves = layer_keys(scope, name->layer)});
  }
  std::vector<size_t> kept;
  for (auto& [folder, generations] : folders) {
    std::ranges::sort(generations, std::greater());
    for (size_t i = 0; i < generations.size(); ++i) {
      if (i < kKeptGenerations) {
        kept.push_back(generations[i].second);
      } else {
        profiles[generations[i].second].serves.clear();
      }
    }
  }
  std::mutex mutex;  // guards `survey`
  TRY_VOID(for_each(kept.size(), [&](size_t i) -> Result<> {
    StoredObject& profile = profiles[kept[i]];
    auto text = store_->get(profile.key);
    if (!text && text.error().code == ErrorCode::not_found) return {};  // deleted since
    if (!text) return fail_with_context("read " + profile.key, std::move(text).error());
    const auto parsed = parse_profile(*text);
    if (!parsed) {
      profile.needs_unknown = true;
      const std::lock_guard lock(mutex);
      survey.problems.push_back(profile.key + ": " + parsed.error().message);
    } else if (parsed->bundle) {
      profile.needs.push_back(bundle_object_key(scope, parsed->bundle->digest));
    }
    return {};
  }));
  std::ranges::move(profiles, std::back_inserter(survey.picture.objects));
  return {};
}

Result<> StoreSurveyor::add_plain(const std::string& prefix, ObjectKind kind, Survey& survey) const {
  TRY(auto objects, store_->list_objects(prefix));
  for (blob::ObjectInfo& object : objects) {
    survey.picture.objects.push_back({.key = std::move(object.key), .size = object.size, .kind = kind});
  }
  return {};
}

}  // namespace hearth::image
