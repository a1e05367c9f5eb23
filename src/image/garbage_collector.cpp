#include "image/garbage_collector.hpp"

#include "base/log.hpp"
#include "base/random_id.hpp"
#include "blob/intent.hpp"
#include "image/in_parallel.hpp"

#include <algorithm>
#include <mutex>

namespace hearth::image {
namespace {

constexpr size_t kBatch = 64;  // objects deleted between two looks at our own word
constexpr seconds kRenewDeletionAfter{30};

std::set<std::string> alive(const std::vector<blob::IntentState>& writers, WallTime now) {
  std::set<std::string> names;
  for (const blob::IntentState& writer : writers) {
    if (writer.alive(now)) names.insert(writer.name());
  }
  return names;
}

}  // namespace

/// One deletion under way: our word in each mark, and when it was last given.
struct GarbageCollector::Sweep {
  StoreScope scope;
  std::vector<blob::CondemnedMark> marks;
  std::string run;
  size_t records = 0;
  blob::LastSign told;
};

void GarbageCollector::tell(std::string_view phase, const StoreScope& scope, uint64_t done, uint64_t total) const {
  if (options_.progress) options_.progress({phase, scope.prefix(), done, total});
}

Result<> GarbageCollector::check_stop() const {
  if (options_.stop.stop_requested()) return fail(ErrorCode::cancelled, "garbage collection was stopped");
  return {};
}

Result<CollectReport> GarbageCollector::run(const StoreScope& scope) {
  report_ = {};
  would_go_.clear();
  std::unordered_set<std::string> waiting;  // in a mark that stays
  TRY(auto ripe, sort_marks(scope, waiting));
  if (!ripe.empty()) TRY_VOID(sweep(scope, std::move(ripe)));
  TRY_VOID(condemn(scope, waiting));
  return std::move(report_);
}

/// Answers the ripe marks. The others' objects are `waiting`, and dead marks are removed.
Result<std::vector<blob::CondemnedMark>> GarbageCollector::sort_marks(const StoreScope& scope,
                                                                      std::unordered_set<std::string>& waiting) {
  // Marks before writers: a writer that ended in between only makes a mark look younger than it is.
  TRY(auto marks, blob::read_marks(*store_, scope.prefix()));
  TRY(const auto writers, surveyor_.writers(scope));
  const WallTime now = options_.time.wall();
  const std::set<std::string> at_work = alive(writers, now);
  std::vector<blob::CondemnedMark> ripe;
  for (blob::CondemnedMark& mark : marks) {
    const MarkStage stage = stage_of(mark, at_work, now, options_.grace);
    if (stage == MarkStage::ripe) {
      ripe.push_back(std::move(mark));
      continue;
    }
    if (stage == MarkStage::abandoned) {
      if (options_.mode == CollectMode::collect && !mark.is_being_deleted(now)) TRY_VOID(remove_mark(mark));
      continue;
    }
    if (stage == MarkStage::young) {
      const Duration left = std::max<Duration>(options_.grace - (now - *mark.at), Duration::zero());
      report_.ripe_in = std::min(report_.ripe_in.value_or(left), left);
    } else if (stage == MarkStage::awaited) {
      report_.writers = std::max<uint64_t>(report_.writers, at_work.size());
    }
    waiting.insert(mark.objects.begin(), mark.objects.end());
  }
  return ripe;
}

Result<Survey> GarbageCollector::look(const StoreScope& scope) {
  tell("look", scope);
  TRY_VOID(check_stop());
  return surveyor_.look(scope);
}

Result<> GarbageCollector::sweep(const StoreScope& scope, std::vector<blob::CondemnedMark> ripe) {
  Sweep sweep{scope, std::move(ripe), random_id(), 0, blob::LastSign(options_.time)};
  if (options_.mode == CollectMode::collect) {
    TRY_VOID(renew_deletion(sweep));  // our word first, everything else after it
    TRY_VOID(drop_finished(sweep));
  }
  TRY(Survey survey, look(scope));
  // Condemned they are, so that their nodes let them go; deleted they are not before that.
  survey.picture.roots.merge(survey.leased);
  std::unordered_set<std::string> condemned;
  for (const blob::CondemnedMark& mark : sweep.marks) condemned.insert(mark.objects.begin(), mark.objects.end());
  const DeletionPlan plan = plan_deletion(survey.picture, condemned);
  for (const StoredObject* object : plan.spare) report_.spared.add(object->size);
  if (options_.mode == CollectMode::dry_run) {
    for (const StoredObject* object : plan.remove) {
      report_.deleted[object->kind].add(object->size);
      would_go_.insert(object->key);
    }
    return {};
  }
  auto deleted = delete_planned(sweep, plan);
  // A call that failed may still take effect: then our word stays, until nobody can be surprised by that any more.
  if (!deleted && deleted.error().code != ErrorCode::cancelled) return deleted;
  for (const blob::CondemnedMark& mark : sweep.marks) {
    TRY_VOID(end_deletion(sweep, mark, deleted ? After::mark_is_finished : After::mark_stays));
  }
  return deleted;
}

Result<> GarbageCollector::renew_deletion(Sweep& sweep) {
  const blob::LastSign now(options_.time);
  const std::string record = blob::deletion_record_json(options_.time.wall());
  for (const blob::CondemnedMark& mark : sweep.marks) {
    TRY_VOID(store_->create(blob::deletion_key(sweep.scope.prefix(), mark.id, sweep.run, sweep.records), record));
  }
  ++sweep.records;
  sweep.told = now;
  return {};
}

/// A mark that another run has finished meanwhile is nothing to go by: writers that began since do not know it.
Result<> GarbageCollector::drop_finished(Sweep& sweep) {
  std::vector<blob::CondemnedMark> standing;
  for (blob::CondemnedMark& mark : sweep.marks) {
    TRY(const auto size, store_->size(blob::seen_key(sweep.scope.prefix(), mark.id)));
    if (size) {
      standing.push_back(std::move(mark));
    } else {
      TRY_VOID(end_deletion(sweep, mark, After::mark_is_finished));
    }
  }
  sweep.marks = std::move(standing);
  return {};
}

Result<> GarbageCollector::delete_planned(Sweep& sweep, const DeletionPlan& plan) {
  const auto& objects = plan.remove;
  size_t first = 0;
  while (first < objects.size()) {
    TRY_VOID(check_stop());
    if (sweep.told.older_than(kRenewDeletionAfter, options_.time)) TRY_VOID(renew_deletion(sweep));
    // Of one kind at a time: all that refers is gone before the first it refers to goes.
    size_t end = first + 1;
    while (end < objects.size() && end - first < kBatch && objects[end]->kind == objects[first]->kind) ++end;
    std::mutex mutex;
    TRY_VOID(in_parallel(end - first, options_.threads, [&](size_t i) -> Result<> {
      const StoredObject& object = *objects[first + i];
      if (sweep.told.older_than(blob::kDeletionTrusted, options_.time)) {
        return fail(ErrorCode::unavailable,
                    "the object store is too slow to take things from it safely; what is left goes "
                    "with the next run");
      }
      auto removed = store_->remove(object.key);
      if (!removed) return fail_with_context("delete " + object.key, std::move(removed).error());
      const std::lock_guard lock(mutex);
      report_.deleted[object.kind].add(object.size);
      return {};
    }));
    first = end;
    tell("delete", sweep.scope, first, objects.size());
  }
  return {};
}

/// Takes our word back, and the mark away unless another run is at it.
Result<> GarbageCollector::end_deletion(const Sweep& sweep, const blob::CondemnedMark& mark, After after) {
  for (size_t n = 0; n < sweep.records; ++n) {
    TRY_VOID(store_->remove(blob::deletion_key(mark.scope, mark.id, sweep.run, n)));
  }
  if (after == After::mark_stays) return {};
  TRY(const auto others, blob::read_deletions(*store_, mark.scope, mark.id));
  const WallTime now = options_.time.wall();
  if (std::ranges::any_of(others, [now](const auto& other) { return other.alive(now); })) return {};
  return remove_mark(mark);
}

/// `seen` first: whoever finds it knows that the rest was there.
Result<> GarbageCollector::remove_mark(const blob::CondemnedMark& mark) {
  TRY_VOID(store_->remove(blob::seen_key(mark.scope, mark.id)));
  TRY(const auto keys, store_->list(blob::mark_prefix(mark.scope, mark.id)));
  for (const std::string& key : keys) TRY_VOID(store_->remove(key));
  return {};
}

Result<> GarbageCollector::condemn(const StoreScope& scope, const std::unordered_set<std::string>& waiting) {
  TRY(const Survey survey, look(scope));
  report_.problems = survey.problems;
  std::vector<const StoredObject*> garbage;
  for (const StoredObject* object : find_garbage(survey.picture, scope.prefix())) {
    if (would_go_.contains(object->key)) continue;
    if (waiting.contains(object->key)) {
      report_.waiting[object->kind].add(object->size);
    } else {
      garbage.push_back(object);
      report_.condemned[object->kind].add(object->size);
    }
  }
  if (options_.mode == CollectMode::dry_run) return {};
  TRY_VOID(remove_dead(survey));
  if (garbage.empty()) return {};
  tell("condemn", scope, 0, garbage.size());
  TRY_VOID(write_mark(scope, garbage));
  report_.ripe_in = std::min<Duration>(report_.ripe_in.value_or(options_.grace), options_.grace);
  return {};
}

Result<> GarbageCollector::write_mark(const StoreScope& scope, const std::vector<const StoredObject*>& garbage) {
  const std::string id = random_id();
  const WallTime now = options_.time.wall();
  size_t record = 0;
  for (size_t first = 0; first < garbage.size(); first += blob::kKeysPerRecord) {
    TRY_VOID(check_stop());
    std::vector<std::string> keys;
    for (size_t i = first; i < std::min(garbage.size(), first + blob::kKeysPerRecord); ++i) {
      keys.push_back(garbage[i]->key);
    }
    TRY_VOID(store_->create(blob::objects_key(scope.prefix(), id, record++),
                            blob::objects_record_json(scope.prefix(), now, keys)));
  }
  TRY(const auto writers, surveyor_.writers(scope));
  const std::set<std::string> at_work = alive(writers, options_.time.wall());
  report_.writers = std::max<uint64_t>(report_.writers, at_work.size());
  TRY_VOID(store_->create(blob::seen_key(scope.prefix(), id), blob::seen_record_json(at_work)));
  return {};
}

/// What writers and nodes left behind that are no more.
Result<> GarbageCollector::remove_dead(const Survey& survey) {
  const WallTime now = options_.time.wall();
  for (const blob::IntentState& writer : survey.writers) {
    if (writer.alive(now)) continue;
    log_info("the intent of a dead writer is removed", {{"intent", writer.name()}, {"owner", writer.owner}});
    TRY_VOID(blob::end_intent(*store_, writer.workspace, writer.id));
  }
  for (const std::string& key : survey.void_leases) TRY_VOID(store_->remove(key));
  return {};
}

}  // namespace hearth::image
