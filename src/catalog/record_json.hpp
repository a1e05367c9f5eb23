// The JSON of configurations and images as values, for records that nest them. Private to the catalog.
#pragma once

#include "base/result.hpp"
#include "catalog/model_config.hpp"
#include "catalog/version_record.hpp"

#include <nlohmann/json_fwd.hpp>

namespace hearth::catalog {

nlohmann::json to_json_value(const ModelConfig& config);
Result<> from_json_value(const nlohmann::json& value, ModelConfig& config);

nlohmann::json to_json_value(const LayerRef& layer);
Result<> from_json_value(const nlohmann::json& value, LayerRef& layer);

nlohmann::json to_json_value(const ImageSpec& image);
Result<> from_json_value(const nlohmann::json& value, ImageSpec& image);

/// dump() that cannot throw: bytes that are not UTF-8 (names in user input) are replaced.
std::string dump(const nlohmann::json& value);

}  // namespace hearth::catalog
