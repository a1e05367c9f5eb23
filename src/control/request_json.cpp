#include "control/request_json.hpp"

#include "base/digest.hpp"
#include "base/quantity.hpp"
#include "catalog/names.hpp"

#include <nlohmann/json.hpp>

#include <time.h>

#include <algorithm>
#include <charconv>
#include <set>

namespace hearth::control {
namespace {

using Json = nlohmann::json;

constexpr size_t kManifestEntriesMax = 500'000;

Unexpected wrong(std::string message) {
  return fail(ErrorCode::invalid_argument, std::move(message));
}

std::optional<WallTime> parse_iso8601(const std::string& text) {
  tm parts{};
  const char* end = ::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
  if (end == nullptr) return std::nullopt;
  double fraction = 0;
  if (*end == '.') {
    const char* stop =
        std::find_if_not(end + 1, text.c_str() + text.size(), [](char c) { return c >= '0' && c <= '9'; });
    std::from_chars(end, stop, fraction);
    end = stop;
  }
  if (*end != '\0' && std::string_view(end) != "Z") return std::nullopt;
  return std::chrono::system_clock::from_time_t(::timegm(&parts)) + microseconds(static_cast<int64_t>(fraction * 1e6));
}

constexpr size_t kNestingMax = 64;

/// What is nested deeper than any request of ours would end the process in code that recurses.
bool nested_too_deep(std::string_view json) {
  size_t depth = 0;
  bool in_text = false;
  for (size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (in_text) {
      if (c == '\\') ++i;
      in_text = c != '"';
    } else if (c == '"') {
      in_text = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kNestingMax) return true;
    } else if ((c == ']' || c == '}') && depth > 0) {
      --depth;
    }
  }
  return false;
}

}  // namespace

Result<Json> body_object(const AdminCall& call) {
  if (nested_too_deep(call.request.body)) return wrong("the body is nested too deeply");
  Json json = Json::parse(call.request.body, nullptr, false);
  if (!json.is_object()) return wrong("the body must be a JSON object");
  return json;
}

Result<std::string> text_member(const Json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_string()) return wrong("\"" + std::string(name) + "\" must be a string");
  return found->get<std::string>();
}

Result<catalog::BranchRef> branch_of_query(const AdminCall& call, const std::string& model) {
  const std::string branch =
      catalog::branch_from_segment(call.request.query_value("branch").value_or(std::string(catalog::kDefaultBranch)));
  TRY_VOID(catalog::check_model_name(model));
  TRY_VOID(catalog::check_branch_name(branch));
  return catalog::BranchRef{.workspace = call.caller.workspace, .model = model, .branch = branch};
}

Result<std::optional<uint64_t>> number_of_query(const AdminCall& call, const char* name, uint64_t most) {
  const auto text = call.request.query_value(name);
  if (!text) return std::nullopt;
  uint64_t value = 0;
  const auto parsed = std::from_chars(text->data(), text->data() + text->size(), value);
  if (parsed.ec != std::errc{} || parsed.ptr != text->data() + text->size() || value == 0 || value > most) {
    return wrong("?" + std::string(name) + "= must be a number from 1 to " + std::to_string(most));
  }
  return value;
}

Result<std::optional<WallTime>> since_of_query(const AdminCall& call) {
  const auto text = call.request.query_value("since");
  if (!text) return std::nullopt;
  if (const auto time = parse_iso8601(*text)) return time;
  if (const auto ago = parse_duration(*text)) return wall_now() - *ago;
  return wrong("?since= must be a time such as 2026-11-22T13:00:00Z or a duration such as 10m");
}

Result<std::vector<std::string>> parts_of_manifest(const Json& files) {
  if (!files.is_array()) return wrong("\"files\" must be a list of entries");
  if (files.size() > kManifestEntriesMax) return wrong("\"files\" has more than 500000 entries");
  std::set<std::string> parts;
  for (const Json& entry : files) {
    if (!entry.is_object()) return wrong("every entry of \"files\" must be an object");
    TRY(const std::string path, text_member(entry, "path"));
    const auto listed = entry.find("parts");
    if (listed == entry.end()) continue;
    if (!listed->is_array()) return wrong("\"parts\" of " + path + " must be a list of digests");
    for (const Json& part : *listed) {
      if (!part.is_string()) return wrong("\"parts\" of " + path + " must be a list of digests");
      TRY_VOID(check_hex_digest(part.get_ref<const std::string&>()));
      parts.insert(part.get<std::string>());
    }
  }
  return std::vector<std::string>(parts.begin(), parts.end());
}

Result<> check_hex_digest(const std::string& text) {
  const bool hex = text.size() == Digest::kSize * 2 &&
                   std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
  if (!hex) return wrong("\"" + text.substr(0, 80) + "\" is no digest: 64 lower-case hex digits");
  return {};
}

}  // namespace hearth::control
