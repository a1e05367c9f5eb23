// hearth.toml comes from whoever deploys: any bytes give a configuration or an error, and a configuration survives
// JSON.
#include "catalog/model_config.hpp"

#include <cstdint>
#include <cstdlib>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto config = hearth::catalog::parse_model_config(text);
  if (!config) {
    if (config.error().message.empty()) std::abort();
    return 0;
  }
  const auto back = hearth::catalog::model_config_from_json(hearth::catalog::model_config_to_json(*config));
  if (!back || *back != *config) std::abort();
  return 0;
}
