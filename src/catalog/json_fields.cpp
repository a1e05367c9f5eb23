#include "catalog/json_fields.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace hearth::catalog {
namespace {

using nlohmann::json;

const json kNull = nullptr;
const json kEmptyList = json::array();

}  // namespace

JsonFields::JsonFields(const json& object, std::string what) : object_(object), what_(std::move(what)) {
  if (!object.is_object()) result_ = fail(ErrorCode::corrupt, what_ + " is not a JSON object");
}

const json* JsonFields::find(const char* key) {
  if (!result_) return nullptr;
  const auto found = object_.find(key);
  if (found != object_.end()) return &*found;
  result_ = fail(ErrorCode::corrupt, fmt::format("{} has no field \"{}\"", what_, key));
  return nullptr;
}

void JsonFields::wrong(const char* key, std::string_view expected) {
  result_ = fail(ErrorCode::corrupt, fmt::format("field \"{}\" of {} is not {}", key, what_, expected));
}

void JsonFields::read(const char* key, std::string& value) {
  const json* field = find(key);
  if (field == nullptr) return;
  if (!field->is_string()) return wrong(key, "a text");
  value = field->get_ref<const std::string&>();
}

void JsonFields::read(const char* key, bool& value) {
  const json* field = find(key);
  if (field == nullptr) return;
  if (!field->is_boolean()) return wrong(key, "true or false");
  value = field->get<bool>();
}

void JsonFields::read(const char* key, double& value) {
  const json* field = find(key);
  if (field == nullptr) return;
  if (!field->is_number()) return wrong(key, "a number");
  value = field->get<double>();
}

void JsonFields::read(const char* key, uint64_t& value) {
  const json* field = find(key);
  if (field == nullptr) return;
  if (!field->is_number_unsigned()) return wrong(key, "a whole number from 0");
  value = field->get<uint64_t>();
}

void JsonFields::read(const char* key, uint32_t& value) {
  uint64_t wide = 0;
  read(key, wide);
  if (!result_) return;
  if (wide > UINT32_MAX) return wrong(key, "a whole number below 2^32");
  value = static_cast<uint32_t>(wide);
}

void JsonFields::read(const char* key, Digest& value) {
  std::string text;
  read(key, text);
  if (!result_) return;
  auto digest = Digest::parse(text);
  if (!digest) return wrong(key, "a digest");
  value = *digest;
}

void JsonFields::read(const char* key, WallTime& value) {
  std::string text;
  read(key, text);
  if (!result_) return;
  const auto time = from_iso8601(text);
  if (!time) return wrong(key, "a time");
  value = *time;
}

void JsonFields::read(const char* key, std::chrono::milliseconds& value) {
  uint64_t count = 0;
  read(key, count);
  if (!result_) return;
  if (count > INT64_MAX / 1'000'000) return wrong(key, "a duration in milliseconds");
  value = std::chrono::milliseconds(count);
}

void JsonFields::read(const char* key, std::vector<std::string>& value) {
  value.clear();
  for (const json& item : list(key)) {
    if (!item.is_string()) return wrong(key, "a list of texts");
    value.push_back(item.get_ref<const std::string&>());
  }
}

void JsonFields::read(const char* key, std::map<std::string, std::string>& value) {
  const json& object = nested(key);
  if (!result_) return;
  if (!object.is_object()) return wrong(key, "an object of texts");
  value.clear();
  for (const auto& [name, item] : object.items()) {
    if (!item.is_string()) return wrong(key, "an object of texts");
    value.emplace(name, item.get_ref<const std::string&>());
  }
}

void JsonFields::read(const char* key, std::map<std::string, uint32_t, std::less<>>& value) {
  const json& object = nested(key);
  if (!result_) return;
  if (!object.is_object()) return wrong(key, "an object of numbers");
  value.clear();
  for (const auto& [name, item] : object.items()) {
    if (!item.is_number_unsigned() || item.get<uint64_t>() > UINT32_MAX) return wrong(key, "an object of numbers");
    value.emplace(name, item.get<uint32_t>());
  }
}

void JsonFields::read_one_of(const char* key, const std::vector<std::string_view>& names, size_t& index) {
  std::string text;
  read(key, text);
  if (!result_) return;
  for (size_t i = 0; i < names.size(); ++i) {
    if (names[i] != text) continue;
    index = i;
    return;
  }
  wrong(key, fmt::format("one of {}", fmt::join(names, ", ")));
}

const json& JsonFields::nested(const char* key) {
  const json* field = find(key);
  return field == nullptr ? kNull : *field;
}

const json& JsonFields::list(const char* key) {
  const json* field = find(key);
  if (field == nullptr) return kEmptyList;
  if (field->is_array()) return *field;
  wrong(key, "a list");
  return kEmptyList;
}

void JsonFields::check(const Result<>& result) {
  if (result_ && !result) result_ = fail_with_context(what_, result.error());
}

Result<json> parse_stored(std::string_view text, std::string_view what) {
  json parsed = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object()) return fail(ErrorCode::corrupt, fmt::format("{} is not a JSON object", what));
  const auto format = parsed.find("format");
  if (format == parsed.end() || !format->is_number_unsigned()) {
    return fail(ErrorCode::corrupt, fmt::format("{} does not say its format", what));
  }
  if (*format != 1) {
    return fail(ErrorCode::corrupt, fmt::format("{} has format {}, which this Hearth does not know: upgrade it", what,
                                                format->get<uint64_t>()));
  }
  return parsed;
}

}  // namespace hearth::catalog
