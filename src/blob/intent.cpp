#include "blob/intent.hpp"

#include "base/log.hpp"
#include "base/random_id.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace hearth::blob {
namespace {

constexpr seconds kRenewAgainAfter{30};  // when renewing failed
constexpr milliseconds kFirstLook{20};   // at a deletion under way; doubles
constexpr seconds kLastLook{2};
constexpr int kCreateAttempts = 20;  // each lost one means that another collector came by

std::string record_key(std::string_view workspace, std::string_view id, size_t n) {
  return fmt::format("{}{}/{}", intents_prefix(workspace), id, n);
}

}  // namespace

Intent::Intent(std::shared_ptr<ObjectStore> store, IntentOptions options)
    : store_(std::move(store)), options_(std::move(options)), id_(random_id()), renewed_(options_.time) {}

Result<std::shared_ptr<Intent>> Intent::begin(std::shared_ptr<ObjectStore> store, IntentOptions options) {
  auto intent = std::shared_ptr<Intent>(new Intent(std::move(store), std::move(options)));
  TRY_VOID(intent->write_record({}));
  // Only now: a mark that is not seen here is younger than our intent, and its collector waits for us.
  TRY_VOID(intent->read_condemned("ws/" + intent->options_.workspace));
  TRY_VOID(intent->read_condemned("shared"));
  if (intent->options_.renew_every > Duration::zero()) {
    intent->renewer_ =
        std::jthread([self = intent.get()](const std::stop_token& stop) { self->renew_now_and_then(stop); });
  }
  return intent;
}

Intent::~Intent() {
  renewer_.request_stop();
  if (renewer_.joinable()) renewer_.join();
  if (handed_over_) return;
  for (size_t n = records_; n-- > 0;) {
    if (auto removed = store_->remove(record_key(options_.workspace, id_, n)); !removed) {
      log_warning("an intent stays in the store until it lapses",
                  {{"intent", id_}, {"error", removed.error().message}});
      return;
    }
  }
}

Result<> Intent::write_record(std::vector<std::string> keeps) {
  size_t n = 0;
  {
    const std::lock_guard lock(mutex_);
    n = records_++;
  }
  const LastSign now(options_.time);
  const IntentRecord record{options_.time.wall(), options_.owner, std::move(keeps)};
  TRY_VOID(store_->create(record_key(options_.workspace, id_, n), intent_record_json(record)));
  const std::lock_guard lock(mutex_);
  renewed_ = now;
  return {};
}

Result<> Intent::read_condemned(std::string_view scope) {
  auto found = read_marks(*store_, scope);
  if (!found) return fail_with_context("see what is condemned", std::move(found).error());
  const WallTime now = options_.time.wall();
  for (CondemnedMark& mark : *found) {
    const size_t number = marks_.size();
    marks_.push_back({mark.scope, mark.id, !mark.is_complete() && mark.is_being_deleted(now)});
    for (std::string& object : mark.objects) condemned_[std::move(object)].push_back(number);
  }
  return {};
}

std::set<size_t> Intent::marks_of(const std::string& key) const {
  std::set<size_t> numbers;
  if (const auto found = condemned_.find(key); found != condemned_.end()) {
    numbers.insert(found->second.begin(), found->second.end());
  }
  for (size_t i = 0; i < marks_.size(); ++i) {
    if (marks_[i].covers_all && key.starts_with(marks_[i].scope + "/")) numbers.insert(i);
  }
  return numbers;
}

Result<> Intent::wait_for_deletions(const std::set<size_t>& marks) const {
  const MonoTime began = options_.time.mono();
  Duration pause = kFirstLook;
  for (const size_t number : marks) {
    const Mark& mark = marks_[number];
    for (;;) {
      TRY(const auto deletions, read_deletions(*store_, mark.scope, mark.id));
      const WallTime now = options_.time.wall();
      if (std::ranges::none_of(deletions, [now](const auto& deletion) { return deletion.alive(now); })) break;
      if (options_.time.mono() - began > options_.patience) {
        return fail(ErrorCode::unavailable, "what is needed is being deleted by garbage collection; try again");
      }
      options_.time.wait(pause);
      pause = std::min<Duration>(pause * 2, kLastLook);
    }
  }
  return {};
}

/// First our word, then a look at what is being deleted. A collector does it the other way round, so one of us sees the
/// other.
Result<> Intent::settle(const std::vector<std::string>& keys) {
  for (size_t first = 0; first < keys.size(); first += kKeysPerRecord) {
    const auto begin = keys.begin() + static_cast<std::ptrdiff_t>(first);
    TRY_VOID(write_record({begin, begin + static_cast<std::ptrdiff_t>(std::min(kKeysPerRecord, keys.size() - first))}));
  }
  std::set<size_t> marks;
  for (const std::string& key : keys) marks.merge(marks_of(key));
  TRY_VOID(wait_for_deletions(marks));
  const std::lock_guard lock(mutex_);
  settled_.insert(keys.begin(), keys.end());
  return {};
}

Result<std::vector<std::string>> Intent::keep(std::span<const std::string> keys) {
  TRY_VOID(check());
  std::vector<std::string> condemned;
  std::vector<std::string> fresh;
  for (const std::string& key : keys) {
    if (marks_of(key).empty()) continue;
    condemned.push_back(key);
    const std::lock_guard lock(mutex_);
    if (!settled_.contains(key)) fresh.push_back(key);
  }
  if (!fresh.empty()) TRY_VOID(settle(fresh));
  std::vector<std::string> gone;
  for (std::string& key : condemned) {
    TRY(const auto size, store_->size(key));
    if (!size) gone.push_back(std::move(key));
  }
  return gone;
}

Result<bool> Intent::keep(const std::string& key) {
  TRY(const auto gone, keep(std::span(&key, 1)));
  return gone.empty();
}

Result<Created> Intent::create_with(std::string_view key, const std::function<Result<Created>()>& create) {
  Created first = Created::no;
  for (int attempt = 0; attempt < kCreateAttempts; ++attempt) {
    TRY_VOID(check());  // else an index might name packs that are kept no longer
    TRY(const Created created, create());
    if (created == Created::yes) first = created;
    // Also when it was made just now: a deletion that took its predecessor may be tried once more.
    TRY(const bool stays, keep(std::string(key)));
    if (stays) return first;
  }
  return fail(ErrorCode::unavailable, fmt::format("{} is deleted as soon as it is made; try again", key));
}

Result<Created> Intent::create(std::string_view key, std::string_view bytes) {
  return create_with(key, [this, key, bytes] { return store_->create(key, bytes); });
}

Result<Created> Intent::create_from_file(std::string_view key, const std::filesystem::path& path) {
  return create_with(key, [this, key, &path] { return store_->create_from_file(key, path); });
}

Result<> Intent::check() const {
  const std::lock_guard lock(mutex_);
  if (!renewed_.older_than(kIntentTrusted, options_.time)) return {};
  return fail(ErrorCode::unavailable,
              "the object store could not be reached for too long to be sure that nothing was collected; try again");
}

Result<> Intent::renew() {
  return write_record({});
}

void Intent::renew_now_and_then(const std::stop_token& stop) {
  Duration pause = options_.renew_every;
  std::mutex mutex;
  std::unique_lock lock(mutex);
  while (!stop.stop_requested()) {
    stop_.wait_for(lock, stop, pause, [] { return false; });
    if (stop.stop_requested()) return;
    const auto renewed = renew();
    if (!renewed) log_warning("an intent could not be renewed", {{"intent", id_}, {"error", renewed.error().message}});
    pause = renewed ? options_.renew_every : std::min<Duration>(kRenewAgainAfter, options_.renew_every);
  }
}

Result<> Intent::hand_over() {
  TRY_VOID(check());
  TRY_VOID(renew());
  const std::lock_guard lock(mutex_);
  handed_over_ = true;
  return {};
}

Result<> end_intent(ObjectStore& store, std::string_view workspace, std::string_view id) {
  if (id.empty() || id.contains('/')) return fail(ErrorCode::invalid_argument, "not an intent: " + std::string(id));
  TRY(const auto keys, store.list(fmt::format("{}{}/", intents_prefix(workspace), id)));
  for (const std::string& key : keys) TRY_VOID(store.remove(key));
  return {};
}

}  // namespace hearth::blob
