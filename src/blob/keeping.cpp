#include "blob/keeping.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <thread>

namespace hearth::blob {
namespace {

using nlohmann::json;

constexpr std::string_view kObjects = "objects-";
constexpr std::string_view kSeen = "seen";
constexpr std::string_view kDelete = "delete-";
constexpr int kReadAttempts = 20;  // of a listing whose objects go away while they are read

Unexpected wrong(std::string_view what, std::string_view field) {
  return fail(ErrorCode::corrupt, fmt::format("{}: \"{}\" is missing or of the wrong kind", what, field));
}

Result<json> parse_record(std::string_view text, std::string_view what) {
  json value = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!value.is_object()) return fail(ErrorCode::corrupt, fmt::format("{} is no JSON object", what));
  const auto format = value.find("format");
  if (format == value.end() || !format->is_number_unsigned()) return wrong(what, "format");
  if (*format != 1) {
    return fail(ErrorCode::corrupt, fmt::format("{} has format {}; this version reads 1", what, format->dump()));
  }
  return value;
}

Result<WallTime> time_of(const json& value, std::string_view what) {
  const auto at = value.find("at");
  if (at == value.end() || !at->is_string()) return wrong(what, "at");
  const auto time = from_iso8601(at->get_ref<const std::string&>());
  if (!time) return wrong(what, "at");
  return *time;
}

Result<std::vector<std::string>> texts_of(const json& value, const char* name, std::string_view what) {
  const auto list = value.find(name);
  if (list == value.end() || !list->is_array()) return wrong(what, name);
  std::vector<std::string> texts;
  for (const json& text : *list) {
    if (!text.is_string()) return wrong(what, name);
    texts.push_back(text.get<std::string>());
  }
  return texts;
}

std::string dump(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

/// "delete-<run>-<n>" → run.
std::string_view run_of(std::string_view name) {
  name.remove_prefix(kDelete.size());
  return name.substr(0, name.rfind('-'));
}

void note_deletion(std::vector<CondemnedMark::Deletion>& deletions, std::string_view run, WallTime at) {
  const auto known = std::ranges::find(deletions, run, &CondemnedMark::Deletion::run);
  if (known == deletions.end()) {
    deletions.push_back({std::string(run), at});
  } else {
    known->renewed = std::max(known->renewed, at);
  }
}

using Take = std::function<Result<>(std::string_view key, std::string_view text)>;

/// Gives every object below `prefix` to `take`. Records of one thing come and go one after another, so what is read
/// belongs together only if nothing went away meanwhile: then all of it is read again, after `restart`.
Result<> read_all(ObjectStore& store, std::string_view prefix, const std::function<void()>& restart, const Take& take) {
  for (int attempt = 0; attempt < kReadAttempts; ++attempt) {
    restart();
    TRY(const auto keys, store.list(prefix));
    bool whole = true;
    for (const std::string& key : keys) {
      auto text = store.get(key);
      if (!text && text.error().code == ErrorCode::not_found) {
        whole = false;
        break;
      }
      if (!text) return fail_with_context("read " + key, std::move(text).error());
      if (auto taken = take(key, *text); !taken) return fail_with_context(key, std::move(taken).error());
    }
    if (whole) return {};
  }
  return fail(ErrorCode::unavailable, fmt::format("{} changes faster than it can be read; try again", prefix));
}

}  // namespace

void Timekeeper::wait(Duration duration) const {
  if (pause) {
    pause(duration);
  } else {
    std::this_thread::sleep_for(duration);
  }
}

bool LastSign::older_than(Duration age, const Timekeeper& time) const {
  const auto by_wall = time.wall() - wall_;
  return time.mono() - mono_ >= age || by_wall >= age || by_wall < -age;
}

bool CondemnedMark::is_being_deleted(WallTime now) const {
  return std::ranges::any_of(deletions, [now](const Deletion& deletion) { return deletion.alive(now); });
}

std::string intents_prefix(std::string_view workspace) {
  return fmt::format("ws/{}/intents/", workspace);
}
std::string condemned_prefix(std::string_view scope) {
  return fmt::format("{}/condemned/", scope);
}
std::string mark_prefix(std::string_view scope, std::string_view mark) {
  return fmt::format("{}/condemned/{}/", scope, mark);
}
std::string seen_key(std::string_view scope, std::string_view mark) {
  return mark_prefix(scope, mark).append(kSeen);
}
std::string objects_key(std::string_view scope, std::string_view mark, size_t n) {
  return fmt::format("{}{}{}", mark_prefix(scope, mark), kObjects, n);
}
std::string deletion_prefix(std::string_view scope, std::string_view mark) {
  return mark_prefix(scope, mark).append(kDelete);
}
std::string deletion_key(std::string_view scope, std::string_view mark, std::string_view run, size_t n) {
  return fmt::format("{}{}-{}", deletion_prefix(scope, mark), run, n);
}

std::string intent_record_json(const IntentRecord& record) {
  return dump({{"format", 1}, {"at", to_iso8601(record.at)}, {"owner", record.owner}, {"keeps", record.keeps}});
}

std::string objects_record_json(std::string_view scope, WallTime at, const std::vector<std::string>& objects) {
  json names = json::array();
  for (const std::string& key : objects) {
    CHECK_PROMISE(key.starts_with(scope) && key.size() > scope.size() + 1 && key[scope.size()] == '/');
    names.push_back(key.substr(scope.size() + 1));
  }
  return dump({{"format", 1}, {"at", to_iso8601(at)}, {"objects", std::move(names)}});
}

std::string seen_record_json(const std::set<std::string>& writers) {
  return dump({{"format", 1}, {"writers", writers}});
}

std::string deletion_record_json(WallTime at) {
  return dump({{"format", 1}, {"at", to_iso8601(at)}});
}

Result<IntentRecord> parse_intent_record(std::string_view text) {
  constexpr std::string_view kWhat = "intent";
  TRY(const json value, parse_record(text, kWhat));
  IntentRecord record;
  TRY(record.at, time_of(value, kWhat));
  TRY(record.keeps, texts_of(value, "keeps", kWhat));
  const auto owner = value.find("owner");
  if (owner == value.end() || !owner->is_string()) return wrong(kWhat, "owner");
  record.owner = owner->get<std::string>();
  return record;
}

Result<> add_mark_record(CondemnedMark& mark, std::string_view name, std::string_view text) {
  constexpr std::string_view kWhat = "condemned mark";
  if (name.starts_with(kObjects)) {
    TRY(const json value, parse_record(text, kWhat));
    TRY(const WallTime at, time_of(value, kWhat));
    TRY(const auto objects, texts_of(value, "objects", kWhat));
    mark.at = std::max(mark.at.value_or(at), at);
    for (const std::string& object : objects) mark.objects.push_back(mark.scope + "/" + object);
  } else if (name == kSeen) {
    TRY(const json value, parse_record(text, kWhat));
    TRY(const auto writers, texts_of(value, "writers", kWhat));
    mark.writers.emplace(writers.begin(), writers.end());
  } else if (name.starts_with(kDelete)) {
    TRY(const json value, parse_record(text, kWhat));
    TRY(const WallTime at, time_of(value, kWhat));
    note_deletion(mark.deletions, run_of(name), at);
  }
  return {};
}

Result<std::vector<IntentState>> read_intents(ObjectStore& store, std::string_view workspace) {
  const std::string prefix = intents_prefix(workspace);
  std::map<std::string, IntentState, std::less<>> intents;
  const Take take = [&](std::string_view key, std::string_view text) -> Result<> {
    const std::string_view name = key.substr(prefix.size());
    const size_t slash = name.find('/');
    if (slash == std::string_view::npos) return {};
    TRY(IntentRecord record, parse_intent_record(text));
    const std::string id(name.substr(0, slash));
    IntentState& state = intents[id];
    if (state.id.empty()) state = {std::string(workspace), id, record.at, std::move(record.owner), {}};
    state.renewed = std::max(state.renewed, record.at);
    std::ranges::move(record.keeps, std::back_inserter(state.keeps));
    return {};
  };
  TRY_VOID(read_all(store, prefix, [&intents] { intents.clear(); }, take));
  std::vector<IntentState> all;
  all.reserve(intents.size());
  for (auto& [id, state] : intents) all.push_back(std::move(state));
  return all;
}

Result<std::vector<CondemnedMark>> read_marks(ObjectStore& store, std::string_view scope) {
  const std::string prefix = condemned_prefix(scope);
  std::map<std::string, CondemnedMark, std::less<>> marks;
  const Take take = [&](std::string_view key, std::string_view text) -> Result<> {
    const std::string_view name = key.substr(prefix.size());
    const size_t slash = name.find('/');
    if (slash == std::string_view::npos) return {};
    CondemnedMark& mark = marks[std::string(name.substr(0, slash))];
    if (mark.id.empty()) {
      mark.scope = scope;
      mark.id = name.substr(0, slash);
    }
    return add_mark_record(mark, name.substr(slash + 1), text);
  };
  TRY_VOID(read_all(store, prefix, [&marks] { marks.clear(); }, take));
  std::vector<CondemnedMark> all;
  all.reserve(marks.size());
  for (auto& [id, mark] : marks) all.push_back(std::move(mark));
  return all;
}

Result<std::vector<CondemnedMark::Deletion>> read_deletions(ObjectStore& store, std::string_view scope,
                                                            std::string_view mark) {
  const std::string prefix = mark_prefix(scope, mark);
  CondemnedMark read{.scope = std::string(scope), .id = std::string(mark)};
  const Take take = [&](std::string_view key, std::string_view text) {
    return add_mark_record(read, key.substr(prefix.size()), text);
  };
  TRY_VOID(read_all(store, deletion_prefix(scope, mark), [&read] { read.deletions.clear(); }, take));
  return std::move(read.deletions);
}

}  // namespace hearth::blob
