// Garbage collection of an object store: condemn what nothing refers to, wait, look again, delete. Safe beside any
// number of writers, nodes and other collectors; killed at any moment it leaves nothing broken. docs/formats/store.md
// says why.
#pragma once

#include "base/result.hpp"
#include "blob/keeping.hpp"
#include "blob/object_store.hpp"
#include "image/garbage_plan.hpp"
#include "image/store_scope.hpp"
#include "image/store_survey.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace hearth::image {

/// How long garbage lies condemned before it goes. Readers without an intent rely on it: see docs/formats/store.md.
inline constexpr std::chrono::hours kDefaultGrace{1};

enum class CollectMode { collect, dry_run };

struct CollectProgress {
  std::string_view phase;  // "look", "delete", "condemn"
  std::string message;     // the scope
  uint64_t done = 0;
  uint64_t total = 0;  // objects; 0: unknown
};

struct CollectOptions {
  Duration grace = kDefaultGrace;
  CollectMode mode = CollectMode::collect;
  unsigned threads = 8;  // calls to the store at once
  blob::Timekeeper time{};
  std::function<void(const CollectProgress&)> progress;  // from the collecting thread
  std::stop_token stop;
};

struct Tally {
  uint64_t objects = 0;
  uint64_t bytes = 0;
  void add(uint64_t size) {
    ++objects;
    bytes += size;
  }
  bool operator==(const Tally&) const = default;
};
using TallyByKind = std::map<ObjectKind, Tally>;

/// What a run did. Of a dry run: what it would have done.
struct CollectReport {
  TallyByKind deleted;
  TallyByKind condemned;              // by this run
  TallyByKind waiting;                // condemned by earlier runs, and not to be deleted yet
  Tally spared;                       // condemned, but needed after all
  uint64_t writers = 0;               // at work, for which condemned objects wait
  std::optional<Duration> ripe_in;    // until the next marks are older than the grace; absent when none waits for time
  std::vector<std::string> problems;  // what could not be read; what it may refer to stays
};

/// Blocking. Any number may run at once, here and elsewhere.
class GarbageCollector {
 public:
  GarbageCollector(std::shared_ptr<blob::ObjectStore> store, RootSource roots, CollectOptions options)
      : store_(std::move(store)),
        options_(std::move(options)),
        surveyor_(store_, std::move(roots), {options_.time, options_.threads, options_.stop}) {}

  /// One run over one scope. Errors leave the scope whole: corrupt when a root cannot be read (nothing was deleted),
  /// cancelled, and the store's own.
  Result<CollectReport> run(const StoreScope& scope);

 private:
  struct Sweep;
  enum class After { mark_is_finished, mark_stays };
  Result<> sweep(const StoreScope& scope, std::vector<blob::CondemnedMark> ripe);
  Result<> drop_finished(Sweep& sweep);
  Result<> delete_planned(Sweep& sweep, const DeletionPlan& plan);
  Result<> renew_deletion(Sweep& sweep);
  Result<> end_deletion(const Sweep& sweep, const blob::CondemnedMark& mark, After after);
  Result<> remove_mark(const blob::CondemnedMark& mark);
  Result<std::vector<blob::CondemnedMark>> sort_marks(const StoreScope& scope,
                                                      std::unordered_set<std::string>& waiting);
  Result<> condemn(const StoreScope& scope, const std::unordered_set<std::string>& waiting);
  Result<> write_mark(const StoreScope& scope, const std::vector<const StoredObject*>& garbage);
  Result<> remove_dead(const Survey& survey);
  Result<Survey> look(const StoreScope& scope);
  Result<> check_stop() const;
  void tell(std::string_view phase, const StoreScope& scope, uint64_t done = 0, uint64_t total = 0) const;

  std::shared_ptr<blob::ObjectStore> store_;
  CollectOptions options_;
  StoreSurveyor surveyor_;
  CollectReport report_;
  std::unordered_set<std::string> would_go_;  // keys: of a dry run
};

}  // namespace hearth::image
