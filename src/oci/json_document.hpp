// Reading JSON documents that come from outside: every access says what is missing or of the wrong kind. Only for .cpp
// files.
#pragma once

#include "base/result.hpp"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::oci {

using Json = nlohmann::json;

inline Result<Json> parse_json_object(std::string_view text, std::string_view what) {
  auto json = Json::parse(text, nullptr, false);
  if (json.is_discarded() || !json.is_object())
    return fail(ErrorCode::corrupt, std::string(what) + " is no JSON object");
  return json;
}

/// "" when it is absent, null or no text.
inline std::string text_or_empty(const Json& object, const char* key) {
  if (!object.is_object()) return {};
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

inline const Json& child_or_null(const Json& object, const char* key) {
  static const Json kNull;
  if (!object.is_object()) return kNull;
  const auto found = object.find(key);
  return found != object.end() ? *found : kNull;
}

/// A list of texts; absent or null is an empty list.
inline Result<std::vector<std::string>> texts(const Json& object, const char* key, std::string_view what) {
  std::vector<std::string> list;
  const Json& value = child_or_null(object, key);
  if (value.is_null()) return list;
  const auto wrong = [key, what] {
    return fail(ErrorCode::corrupt, std::string(what) + ": '" + key + "' is no list of texts");
  };
  if (!value.is_array()) return wrong();
  for (const Json& item : value) {
    if (!item.is_string()) return wrong();
    list.push_back(item.get<std::string>());
  }
  return list;
}

}  // namespace hearth::oci
