// What writers and garbage collection tell each other through the store, so that nothing is collected that somebody is
// about to refer to: intents, condemned objects, deletions under way. The records, and why they suffice, are in
// docs/formats/store.md.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"
#include "blob/object_store.hpp"

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::blob {

/// A writer that has not renewed its intent for so long is dead, and will never write again what a root is.
inline constexpr std::chrono::minutes kIntentLife{60};
/// A writer stops at this age of its last renewal. The rest of its life is for clocks that differ and for calls that
/// take their time.
inline constexpr std::chrono::minutes kIntentTrusted{30};
/// The same two for a deletion under way.
inline constexpr std::chrono::minutes kDeletionLife{20};
inline constexpr std::chrono::minutes kDeletionTrusted{2};
/// Objects named by one record.
inline constexpr size_t kKeysPerRecord = 10'000;

/// Time as a writer or a collector sees it; tests bring their own.
struct Timekeeper {
  std::function<WallTime()> wall = wall_now;
  std::function<MonoTime()> mono = mono_now;
  std::function<void(Duration)> pause;  // empty: the thread sleeps
  void wait(Duration duration) const;
};

/// When something was last said to be alive, by our own clocks. A clock that jumps, or that stands still while the
/// machine sleeps, makes it older at most.
class LastSign {
 public:
  explicit LastSign(const Timekeeper& time) : wall_(time.wall()), mono_(time.mono()) {}
  bool older_than(Duration age, const Timekeeper& time) const;

 private:
  WallTime wall_;
  MonoTime mono_;
};

/// ws/<w>/intents/<id>/<n>: a writer at work. Every record renews it.
struct IntentRecord {
  WallTime at;
  std::string owner;               // who, for people
  std::vector<std::string> keeps;  // objects it relies on although they were condemned: full keys
};

struct IntentState {
  std::string workspace;
  std::string id;
  WallTime renewed;
  std::string owner;
  std::vector<std::string> keeps;  // of all its records
  bool alive(WallTime now) const { return now - renewed < kIntentLife; }
  /// Names it across workspaces.
  std::string name() const { return workspace + "/" + id; }
};

/// `<scope>/condemned/<id>/…`: objects that nothing referred to when somebody looked. `scope` is "ws/<w>" or "shared".
struct CondemnedMark {
  struct Deletion {
    std::string run;
    WallTime renewed;
    bool alive(WallTime now) const { return now - renewed < kDeletionLife; }
  };
  std::string scope;
  std::string id;
  std::optional<WallTime> at;                    // of its objects' record
  std::vector<std::string> objects;              // full keys; may be a part only while it is written or removed
  std::optional<std::set<std::string>> writers;  // IntentState::name() of those alive when the mark was complete
  std::vector<Deletion> deletions;
  bool is_complete() const { return writers.has_value(); }
  bool is_being_deleted(WallTime now) const;
};

std::string intents_prefix(std::string_view workspace);                  // ws/<w>/intents/
std::string condemned_prefix(std::string_view scope);                    // <scope>/condemned/
std::string mark_prefix(std::string_view scope, std::string_view mark);  // <scope>/condemned/<id>/
std::string seen_key(std::string_view scope, std::string_view mark);     // …seen
std::string objects_key(std::string_view scope, std::string_view mark, size_t n);
std::string deletion_prefix(std::string_view scope, std::string_view mark);  // …delete-
std::string deletion_key(std::string_view scope, std::string_view mark, std::string_view run, size_t n);

std::string intent_record_json(const IntentRecord& record);
/// `objects` are full keys below the scope.
std::string objects_record_json(std::string_view scope, WallTime at, const std::vector<std::string>& objects);
std::string seen_record_json(const std::set<std::string>& writers);
std::string deletion_record_json(WallTime at);

/// Total: any bytes may come. corrupt names the field.
Result<IntentRecord> parse_intent_record(std::string_view json);
/// Adds what one object below a mark says; `name` is its key behind mark_prefix(). Other names are ignored.
Result<> add_mark_record(CondemnedMark& mark, std::string_view name, std::string_view json);

/// All intents of a workspace, dead ones too. An object that goes away while it is read is looked for again.
Result<std::vector<IntentState>> read_intents(ObjectStore& store, std::string_view workspace);
/// All marks of a scope.
Result<std::vector<CondemnedMark>> read_marks(ObjectStore& store, std::string_view scope);
/// What is being deleted by a mark now.
Result<std::vector<CondemnedMark::Deletion>> read_deletions(ObjectStore& store, std::string_view scope,
                                                            std::string_view mark);

}  // namespace hearth::blob
