#include "image/garbage_plan.hpp"

#include <algorithm>
#include <array>
#include <tuple>
#include <unordered_map>

namespace hearth::image {
namespace {

constexpr std::string_view kShared = "shared/";

/// "ws/<w>/" or "shared/" of a key.
std::string_view scope_of(std::string_view key) {
  if (!key.starts_with("ws/")) return key.substr(0, key.find('/') + 1);
  return key.substr(0, key.find('/', 3) + 1);
}

class ObjectMap {
 public:
  explicit ObjectMap(const StorePicture& picture) {
    objects_.reserve(picture.objects.size());
    for (const StoredObject& object : picture.objects) objects_.emplace(object.key, &object);
  }
  const StoredObject* find(std::string_view key) const {
    const auto found = objects_.find(key);
    return found == objects_.end() ? nullptr : found->second;
  }

 private:
  std::unordered_map<std::string_view, const StoredObject*> objects_;
};

/// Calls `take` for everything there that the object needs.
template <class Take>
void for_each_need(const StorePicture& picture, const ObjectMap& map, const StoredObject& object, const Take& take) {
  for (const std::string& key : object.needs) {
    if (const StoredObject* needed = map.find(key)) take(*needed);
  }
  if (!object.needs_unknown) return;
  const std::string_view scope = scope_of(object.key);
  const ObjectKind kind = object.kind == ObjectKind::profile ? ObjectKind::bundle : ObjectKind::pack;
  for (const StoredObject& other : picture.objects) {
    if (other.kind == kind && (other.key.starts_with(scope) || other.key.starts_with(kShared))) take(other);
  }
}

/// What refers goes before what it refers to.
int rank(ObjectKind kind) {
  switch (kind) {
    case ObjectKind::upload:
    case ObjectKind::build_cache:
    case ObjectKind::import_record:
    case ObjectKind::profile:
    case ObjectKind::name:
      return 0;
    case ObjectKind::layer:
      return 1;
    case ObjectKind::pack:
    case ObjectKind::bundle:
      return 2;
  }
  return 0;
}

}  // namespace

std::string_view to_string(ObjectKind kind) {
  constexpr std::array<std::string_view, 8> kNames = {"layers",  "packs",    "uploads", "build-cache",
                                                      "imports", "profiles", "bundles", "names"};
  return kNames.at(static_cast<size_t>(kind));
}

std::unordered_set<std::string> find_live(const StorePicture& picture) {
  const ObjectMap map(picture);
  std::unordered_set<std::string> live;
  std::vector<const StoredObject*> todo;
  const auto reach = [&live, &todo](const StoredObject& object) {
    if (live.insert(object.key).second) todo.push_back(&object);
  };
  for (const std::string& root : picture.roots) {
    if (const StoredObject* object = map.find(root)) reach(*object);
  }
  for (;;) {
    while (!todo.empty()) {
      const StoredObject* object = todo.back();
      todo.pop_back();
      for_each_need(picture, map, *object, reach);
    }
    // Servants last: they live by others, and may need things of their own.
    for (const StoredObject& object : picture.objects) {
      const auto serves = [&live](const std::string& key) { return live.contains(key); };
      if (std::ranges::any_of(object.serves, serves)) reach(object);
    }
    if (todo.empty()) return live;
  }
}

std::vector<const StoredObject*> find_garbage(const StorePicture& picture, std::string_view scope) {
  const auto live = find_live(picture);
  const std::string folder = std::string(scope) + "/";
  std::vector<const StoredObject*> garbage;
  for (const StoredObject& object : picture.objects) {
    if (object.key.starts_with(folder) && !live.contains(object.key)) garbage.push_back(&object);
  }
  return garbage;
}

DeletionPlan plan_deletion(const StorePicture& picture, const std::unordered_set<std::string>& condemned) {
  const ObjectMap map(picture);
  const auto live = find_live(picture);
  std::unordered_set<const StoredObject*> going;
  std::vector<const StoredObject*> staying;  // whose needs are still to be looked at
  for (const StoredObject& object : picture.objects) {
    if (condemned.contains(object.key) && !live.contains(object.key)) {
      going.insert(&object);
    } else {
      staying.push_back(&object);
    }
  }
  while (!staying.empty()) {
    const StoredObject* object = staying.back();
    staying.pop_back();
    for_each_need(picture, map, *object, [&going, &staying](const StoredObject& needed) {
      if (going.erase(&needed) > 0) staying.push_back(&needed);
    });
  }
  DeletionPlan plan;
  for (const StoredObject& object : picture.objects) {
    if (going.contains(&object)) {
      plan.remove.push_back(&object);
    } else if (condemned.contains(object.key)) {
      plan.spare.push_back(&object);
    }
  }
  std::ranges::sort(plan.remove, {}, [](const StoredObject* object) {
    return std::tuple(rank(object->kind), object->kind, std::string_view(object->key));
  });
  return plan;
}

MarkStage stage_of(const blob::CondemnedMark& mark, const std::set<std::string>& live_writers, WallTime now,
                   Duration grace) {
  if (!mark.at) return MarkStage::abandoned;  // names nothing
  if (!mark.is_complete()) return now - *mark.at < blob::kDeletionLife ? MarkStage::unfinished : MarkStage::abandoned;
  if (now - *mark.at < grace) return MarkStage::young;
  const auto at_work = [&live_writers](const std::string& writer) { return live_writers.contains(writer); };
  return std::ranges::any_of(*mark.writers, at_work) ? MarkStage::awaited : MarkStage::ripe;
}

}  // namespace hearth::image
