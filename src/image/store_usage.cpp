#include "image/store_usage.hpp"

#include <algorithm>
#include <set>
#include <unordered_map>

namespace hearth::image {
namespace {

using ObjectSet = std::set<const StoredObject*>;

uint64_t bytes_of(const ObjectSet& objects) {
  uint64_t bytes = 0;
  for (const StoredObject* object : objects) bytes += object->size;
  return bytes;
}

/// What one owner has.
struct Holdings {
  std::set<uint32_t> versions;
  uint64_t content_bytes = 0;
  ObjectSet objects;
};

}  // namespace

void account_owners(const StoreScope& scope, const std::vector<StoredObject>& objects,
                    const std::vector<OwnedLayer>& layers, StoreUsage& usage) {
  std::unordered_map<std::string_view, const StoredObject*> by_key;
  for (const StoredObject& object : objects) by_key.emplace(object.key, &object);
  const auto first_of = [&by_key](const std::vector<std::string>& keys) -> const StoredObject* {
    for (const std::string& key : keys) {
      if (const auto found = by_key.find(key); found != by_key.end()) return found->second;
    }
    return nullptr;
  };

  std::map<std::string, Holdings> owners;
  for (const OwnedLayer& use : layers) {
    Holdings& owner = owners[use.owner];
    owner.versions.insert(use.version);
    const StoredObject* layer = first_of(layer_keys(scope, use.layer));
    if (layer == nullptr) continue;  // missing: `verify` says so
    owner.content_bytes += layer->content_bytes;
    owner.objects.insert(layer);
    for (const std::string& key : layer->needs) {
      if (const auto found = by_key.find(key); found != by_key.end()) owner.objects.insert(found->second);
    }
  }
  std::map<const StoredObject*, int> owners_of;
  for (const auto& [name, owner] : owners) {
    for (const StoredObject* object : owner.objects) ++owners_of[object];
  }
  for (const auto& [name, owner] : owners) {
    OwnerUsage out{.name = name, .versions = owner.versions.size(), .content_bytes = owner.content_bytes};
    out.stored_bytes = bytes_of(owner.objects);
    for (const StoredObject* object : owner.objects) {
      if (owners_of[object] == 1) out.own_bytes += object->size;
    }
    usage.content_bytes += out.content_bytes;
    usage.owners.push_back(std::move(out));
  }
  for (const auto& [object, count] : owners_of) usage.stored_bytes += object->size;
}

ScopeUsage account_scope(const StoreScope& scope, const std::vector<blob::ObjectInfo>& all,
                         const StorePicture& picture) {
  ScopeUsage usage{.name = scope.prefix()};
  for (const blob::ObjectInfo& object : all) {
    const std::string_view name = std::string_view(object.key).substr(scope.prefix().size() + 1);
    usage.kinds[std::string(name.substr(0, name.find('/')))].add(object.size);
    usage.total.add(object.size);
  }
  for (const StoredObject* object : find_garbage(picture, scope.prefix())) usage.garbage.add(object->size);
  return usage;
}

}  // namespace hearth::image
