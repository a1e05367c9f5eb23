// A writer's word that it is at work: what it finds or makes in the store is not collected before it has written what
// refers to it. How that holds without a lock is in docs/formats/store.md.
#pragma once

#include "base/result.hpp"
#include "blob/keeping.hpp"
#include "blob/object_store.hpp"

#include <condition_variable>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace hearth::blob {

struct IntentOptions {
  std::string workspace;
  std::string owner;                               // who, for people: "build on node a"
  Duration renew_every = std::chrono::minutes(5);  // by a thread of the intent's own; zero: renew() is called
  Duration patience = std::chrono::minutes(30);    // for deletions under way
  Timekeeper time{};
};

/// The rules of a writer: begin an intent, then look things up; pass what was found to keep() and make what is named by
/// its content with create(); write packs before the index that names them; check(), and only then write the root (a
/// version, an image name); end the intent after that.
/// Thread-safe; calls block. When it is destroyed it ends, unless it was handed over.
class Intent {
 public:
  /// Says so in the store, and then reads what is condemned there. Errors are the store's.
  static Result<std::shared_ptr<Intent>> begin(std::shared_ptr<ObjectStore> store, IntentOptions options);
  ~Intent();
  Intent(const Intent&) = delete;
  Intent& operator=(const Intent&) = delete;

  const std::string& id() const { return id_; }
  const std::string& workspace() const { return options_.workspace; }

  /// Whether the object was condemned when the intent began: referring to another one is cheaper then. No I/O.
  bool is_condemned(const std::string& key) const { return !marks_of(key).empty(); }

  /// Objects (full keys) that were found after begin() and that something will refer to. Answers those that are gone
  /// after all and must be made again; the others stay. No I/O unless one was condemned. Waits while one is being
  /// deleted. unavailable when that takes too long, or when the intent was not renewed for too long.
  Result<std::vector<std::string>> keep(std::span<const std::string> keys);
  Result<bool> keep(const std::string& key);  // whether it is there to stay

  /// Makes an object that is named by its content, and sees to it that it stays. yes when this call made it.
  Result<Created> create(std::string_view key, std::string_view bytes);
  /// The same for what a local file holds.
  Result<Created> create_from_file(std::string_view key, const std::filesystem::path& path);

  /// Whether what was kept is still kept: to be asked right before a root is written. unavailable when the store could
  /// not be told for too long that we live.
  Result<> check() const;
  /// Renews it; done by its thread unless renew_every is zero.
  Result<> renew();

  /// Renews it a last time and leaves it in the store, for end_intent() of whoever writes the root: within
  /// kHandOverLife.
  Result<> hand_over();

 private:
  /// A mark that stood there when the intent began, and what it covers.
  struct Mark {
    std::string scope;
    std::string id;
    bool covers_all = false;  // something is being deleted by it, and what is not known any more
  };

  Intent(std::shared_ptr<ObjectStore> store, IntentOptions options);
  Result<> write_record(std::vector<std::string> keeps);
  Result<> read_condemned(std::string_view scope);
  std::set<size_t> marks_of(const std::string& key) const;
  Result<> settle(const std::vector<std::string>& keys);
  Result<> wait_for_deletions(const std::set<size_t>& marks) const;
  Result<Created> create_with(std::string_view key, const std::function<Result<Created>()>& create);
  void renew_now_and_then(const std::stop_token& stop);

  const std::shared_ptr<ObjectStore> store_;
  const IntentOptions options_;
  const std::string id_;
  std::vector<Mark> marks_;                                         // set by begin() alone
  std::unordered_map<std::string, std::vector<size_t>> condemned_;  // object → numbers of marks; set by begin() alone

  mutable std::mutex mutex_;
  LastSign renewed_;
  size_t records_ = 0;
  std::unordered_set<std::string> settled_;  // condemned before, ours now
  bool handed_over_ = false;

  std::condition_variable_any stop_;
  std::jthread renewer_;
};

/// How long after hand_over() the root may be written.
inline constexpr std::chrono::minutes kHandOverLife{10};

/// Ends an intent that was handed over.
Result<> end_intent(ObjectStore& store, std::string_view workspace, std::string_view id);

}  // namespace hearth::blob
