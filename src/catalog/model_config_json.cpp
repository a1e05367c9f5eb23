#include "catalog/json_fields.hpp"
#include "catalog/record_json.hpp"

#include <nlohmann/json.hpp>

namespace hearth::catalog {

using nlohmann::json;

json to_json_value(const ModelConfig& config) {
  const ImageConfig& image = config.image;
  const ResourceConfig& resources = config.resources;
  const TimeoutConfig& timeouts = config.timeouts;
  return {{"name", config.name},
          {"handler", config.handler},
          {"setup", config.setup},
          {"ready", config.ready},
          {"mode", to_string(config.mode)},
          {"preload", config.preload},
          {"image",
           {{"base", image.base},
            {"python_packages", image.python_packages},
            {"requirements", image.requirements},
            {"wheels", image.wheels},
            {"system_packages", image.system_packages},
            {"env", image.env}}},
          {"artifacts", config.artifacts},
          {"resources",
           {{"cpu", resources.cpu},
            {"memory_bytes", resources.memory_bytes},
            {"pids", resources.pids},
            {"tmp_bytes", resources.tmp_bytes},
            {"slots", resources.slots},
            {"network", resources.network}}},
          {"timeouts",
           {{"request_ms", timeouts.request.count()},
            {"start_ms", timeouts.start.count()},
            {"idle_pause_ms", timeouts.idle_pause.count()},
            {"idle_stop_ms", timeouts.idle_stop.count()}}}};
}

Result<> from_json_value(const json& value, ModelConfig& config) {
  JsonFields fields(value, "model configuration");
  fields.read("name", config.name);
  fields.read("handler", config.handler);
  fields.read("setup", config.setup);
  fields.read("ready", config.ready);
  size_t mode = 0;
  fields.read_one_of("mode", {"row", "batch", "dataframe"}, mode);
  config.mode = static_cast<CallMode>(mode);
  fields.read("preload", config.preload);
  fields.read("artifacts", config.artifacts);
  TRY_VOID(fields.result());

  JsonFields image(fields.nested("image"), "model configuration's image");
  image.read("base", config.image.base);
  image.read("python_packages", config.image.python_packages);
  image.read("requirements", config.image.requirements);
  image.read("wheels", config.image.wheels);
  image.read("system_packages", config.image.system_packages);
  image.read("env", config.image.env);
  TRY_VOID(image.result());

  JsonFields resources(fields.nested("resources"), "model configuration's resources");
  resources.read("cpu", config.resources.cpu);
  resources.read("memory_bytes", config.resources.memory_bytes);
  resources.read("pids", config.resources.pids);
  resources.read("tmp_bytes", config.resources.tmp_bytes);
  resources.read("slots", config.resources.slots);
  resources.read("network", config.resources.network);
  TRY_VOID(resources.result());

  JsonFields timeouts(fields.nested("timeouts"), "model configuration's timeouts");
  timeouts.read("request_ms", config.timeouts.request);
  timeouts.read("start_ms", config.timeouts.start);
  timeouts.read("idle_pause_ms", config.timeouts.idle_pause);
  timeouts.read("idle_stop_ms", config.timeouts.idle_stop);
  return timeouts.result();
}

std::string dump(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string model_config_to_json(const ModelConfig& config) {
  return dump(to_json_value(config));
}

Result<ModelConfig> model_config_from_json(std::string_view text) {
  const json value = json::parse(text, nullptr, /*allow_exceptions=*/false);
  ModelConfig config;
  TRY_VOID(from_json_value(value, config));
  return config;
}

}  // namespace hearth::catalog
