#include "image/profile.hpp"

#include "base/quantity.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

namespace hearth::image {

namespace {

using Json = nlohmann::json;

constexpr uint64_t kFormat = 1;
constexpr std::string_view kSuffix = ".json";
constexpr int kMaxDepth = 4;  // of a profile's JSON: the object, its lists, their objects

Unexpected broken(std::string_view rule) {
  return fail(ErrorCode::corrupt, "profile: " + std::string(rule));
}

Result<uint64_t> number(const Json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_number_unsigned()) return broken(std::string(name) + " is not a number");
  return found->get<uint64_t>();
}

Result<std::string> text(const Json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_string()) return broken(std::string(name) + " is not a text");
  return found->get<std::string>();
}

Result<double> share(const Json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_number()) return broken(std::string(name) + " is not a number");
  const auto value = found->get<double>();
  if (!(value >= 0 && value <= 1)) return broken(std::string(name) + " is not between 0 and 1");
  return value;
}

Result<WallTime> time(const Json& object, const char* name) {
  TRY(const std::string value, text(object, name));
  const auto parsed = from_iso8601(value);
  if (!parsed) return broken(std::string(name) + " is not a time");
  return *parsed;
}

Result<BundleRef> parse_bundle(const Json& object) {
  if (!object.is_object()) return broken("bundle is not an object");
  BundleRef bundle;
  TRY(const std::string digest, text(object, "digest"));
  TRY(bundle.digest, Digest::parse(digest));
  TRY(bundle.bytes, number(object, "bytes"));
  TRY(bundle.streamed_bytes, number(object, "streamed_bytes"));
  TRY(bundle.plain_bytes, number(object, "plain_bytes"));
  TRY(bundle.runs, number(object, "runs"));
  if (bundle.streamed_bytes > bundle.bytes) return broken("streamed_bytes is more than bytes");
  return bundle;
}

Result<StartFigures> parse_start(const Json& object) {
  if (!object.is_object()) return broken("a start is not an object");
  StartFigures start;
  TRY(start.at, time(object, "at"));
  TRY(start.asked_bytes, number(object, "asked_bytes"));
  TRY(start.met.recall, share(object, "recall"));
  TRY(start.met.precision, share(object, "precision"));
  TRY(start.demand_waits, number(object, "demand_waits"));
  TRY(start.waited_ms, number(object, "waited_ms"));
  return start;
}

/// A share with four digits: a profile is read by people too.
double rounded(double value) {
  constexpr double kDigits = 10'000;
  return std::round(value * kDigits) / kDigits;
}

/// "17.json" → 17.
std::optional<uint64_t> parse_generation(std::string_view name) {
  if (!name.ends_with(kSuffix)) return std::nullopt;
  name.remove_suffix(kSuffix.size());
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), value);
  if (error != std::errc() || end != name.data() + name.size() || value == 0 || name.front() == '0') {
    return std::nullopt;
  }
  return value;
}

Result<Profile> read_generation(blob::ObjectStore& store, const std::string& folder, uint64_t generation) {
  TRY(const std::string json, store.get(folder + std::to_string(generation) + std::string(kSuffix)));
  TRY(Profile profile, parse_profile(json));
  if (profile.generation != generation) return broken("its generation is not that of its name");
  return profile;
}

/// JSON that is nested deeper than ours is refused before a recursive parser sees it.
bool is_nested_deeply(std::string_view json) {
  int depth = 0;
  for (const char c : json) {
    if (c == '{' || c == '[') ++depth;
    if (c == '}' || c == ']') --depth;
    if (depth > kMaxDepth) return true;
  }
  return false;
}

}  // namespace

bool is_profile_key(std::string_view key) {
  constexpr std::string_view kMarks = "._-";
  if (key.empty() || key.size() > kMaxProfileKeyBytes || key == "." || key == "..") return false;
  return std::ranges::all_of(key, [kMarks](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || kMarks.contains(c);
  });
}

std::string profiles_prefix(const StoreScope& scope, const Digest& layer) {
  return scope.prefix() + "/profiles/" + layer.hex() + "/";
}

std::string profile_object_key(const StoreScope& scope, const Profile& profile) {
  return fmt::format("{}{}/{}{}", profiles_prefix(scope, profile.layer), profile.key, profile.generation, kSuffix);
}

std::string bundle_object_key(const StoreScope& scope, const Digest& bundle) {
  return scope.prefix() + "/bundles/" + bundle.hex();
}

std::string to_json(const Profile& profile) {
  Json json = {{"format", kFormat},
               {"layer", profile.layer.to_string()},
               {"key", profile.key},
               {"generation", profile.generation},
               {"created", to_iso8601(profile.created)},
               {"starts", profile.starts},
               {"bundle", nullptr},
               {"recent", Json::array()}};
  if (profile.bundle) {
    json["bundle"] = {{"digest", profile.bundle->digest.to_string()},
                      {"bytes", profile.bundle->bytes},
                      {"streamed_bytes", profile.bundle->streamed_bytes},
                      {"plain_bytes", profile.bundle->plain_bytes},
                      {"runs", profile.bundle->runs}};
  }
  for (const StartFigures& start : profile.recent) {
    json["recent"].push_back({{"at", to_iso8601(start.at)},
                              {"asked_bytes", start.asked_bytes},
                              {"recall", rounded(start.met.recall)},
                              {"precision", rounded(start.met.precision)},
                              {"demand_waits", start.demand_waits},
                              {"waited_ms", start.waited_ms}});
  }
  return json.dump();
}

Result<Profile> parse_profile(std::string_view text_of_json) {
  if (text_of_json.size() > kMaxProfileBytes) return broken("larger than the limit");
  if (is_nested_deeply(text_of_json)) return broken("nested too deeply");
  const Json json = Json::parse(text_of_json, nullptr, false);
  if (!json.is_object()) return broken("not a JSON object");
  TRY(const uint64_t format, number(json, "format"));
  if (format != kFormat) return broken(fmt::format("format {} is not known to this program; it knows 1", format));
  Profile profile;
  TRY(const std::string layer, text(json, "layer"));
  TRY(profile.layer, Digest::parse(layer));
  TRY(profile.key, text(json, "key"));
  if (!is_profile_key(profile.key)) return broken("key is not a profile key");
  TRY(profile.generation, number(json, "generation"));
  TRY(profile.created, time(json, "created"));
  TRY(profile.starts, number(json, "starts"));
  if (const auto bundle = json.find("bundle"); bundle != json.end() && !bundle->is_null()) {
    TRY(profile.bundle, parse_bundle(*bundle));
  }
  const auto recent = json.find("recent");
  if (recent == json.end() || !recent->is_array()) return broken("recent is not a list");
  if (recent->size() > kListedStarts) return broken("recent lists too many starts");
  for (const Json& item : *recent) {
    TRY(StartFigures start, parse_start(item));
    profile.recent.push_back(start);
  }
  return profile;
}

Result<std::optional<Profile>> find_profile(blob::ObjectStore& store, const StoreScope& scope, const Digest& layer,
                                            std::string_view key) {
  if (!is_profile_key(key)) return fail(ErrorCode::invalid_argument, "not a profile key");
  const std::string folder = profiles_prefix(scope, layer) + std::string(key) + "/";
  TRY(const auto names, store.list(folder));
  uint64_t highest = 0;
  for (const std::string_view name : names) {
    highest = std::max(highest, parse_generation(name.substr(folder.size())).value_or(0));
  }
  if (highest == 0) return std::nullopt;
  TRY(Profile profile, read_generation(store, folder, highest));
  if (profile.layer != layer || profile.key != key) return broken("it belongs to another layer or key");
  return profile;
}

Result<std::vector<Profile>> list_profiles(blob::ObjectStore& store, const StoreScope& scope, const Digest& layer) {
  const std::string prefix = profiles_prefix(scope, layer);
  TRY(const auto names, store.list(prefix));
  std::map<std::string, uint64_t> highest;
  for (const std::string_view name : names) {
    const std::string_view below = name.substr(prefix.size());
    const size_t slash = below.find('/');
    if (slash == std::string_view::npos) continue;
    const auto generation = parse_generation(below.substr(slash + 1));
    if (!generation || !is_profile_key(below.substr(0, slash))) continue;
    uint64_t& known = highest[std::string(below.substr(0, slash))];
    known = std::max(known, *generation);
  }
  std::vector<Profile> profiles;
  for (const auto& [key, generation] : highest) {
    auto profile = read_generation(store, prefix + key + "/", generation);
    if (!profile && profile.error().code == ErrorCode::unavailable) return Unexpected(std::move(profile).error());
    if (profile && profile->layer == layer && profile->key == key) profiles.push_back(std::move(*profile));
  }
  return profiles;
}

Profile next_generation(const Profile& before, const StartFigures& start, WallTime now) {
  Profile next = before;
  ++next.generation;
  ++next.starts;
  next.created = now;
  next.recent.push_back(start);
  if (next.recent.size() > kListedStarts) {
    next.recent.erase(next.recent.begin(), next.recent.end() - static_cast<ptrdiff_t>(kListedStarts));
  }
  return next;
}

bool is_worth_writing(const Profile& before, WallTime now) {
  return before.generation == 0 || now - before.created >= kFiguresEvery;
}

bool may_write_bundle(const Profile& before, WallTime now) {
  return before.generation < kFastGenerations || now - before.created >= kFiguresEvery;
}

std::string summary_line(const Profile& profile) {
  std::string line = fmt::format("generation {} · starts {}", profile.generation, profile.starts);
  if (!profile.recent.empty() && profile.bundle) {
    const Coverage met = profile.recent.back().met;
    line += fmt::format(" · recall {:.0f} % · precision {:.0f} %", met.recall * 100, met.precision * 100);
  }
  if (profile.bundle) {
    line += fmt::format(" · bundle {} for {}", format_bytes(profile.bundle->bytes),
                        format_bytes(profile.bundle->plain_bytes));
  }
  return line;
}

}  // namespace hearth::image
