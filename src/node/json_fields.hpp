// Reading JSON that a replica's own code may have written: wrong types are as good as absent, nothing throws.
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::node {

inline const nlohmann::json* field(const nlohmann::json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found == object.end() ? nullptr : &*found;
}

inline std::string text_field(const nlohmann::json& object, const char* key) {
  const nlohmann::json* value = field(object, key);
  return value != nullptr && value->is_string() ? value->get<std::string>() : std::string();
}

inline double number_field(const nlohmann::json& object, const char* key) {
  const nlohmann::json* value = field(object, key);
  return value != nullptr && value->is_number() ? value->get<double>() : 0.0;
}

inline int64_t integer_field(const nlohmann::json& object, const char* key) {
  const nlohmann::json* value = field(object, key);
  return value != nullptr && value->is_number_integer() ? value->get<int64_t>() : 0;
}

inline std::vector<std::string> texts_field(const nlohmann::json& object, const char* key) {
  std::vector<std::string> texts;
  const nlohmann::json* value = field(object, key);
  if (value == nullptr || !value->is_array()) return texts;
  for (const nlohmann::json& item : *value) {
    if (item.is_string()) texts.push_back(item.get<std::string>());
  }
  return texts;
}

inline std::vector<uint64_t> ids_field(const nlohmann::json& object, const char* key) {
  std::vector<uint64_t> ids;
  const nlohmann::json* value = field(object, key);
  if (value == nullptr || !value->is_array()) return ids;
  for (const nlohmann::json& item : *value) {
    if (item.is_number_unsigned()) ids.push_back(item.get<uint64_t>());
  }
  return ids;
}

/// dump() that never throws on bytes that are not UTF-8.
inline std::string to_text(const nlohmann::json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace hearth::node
