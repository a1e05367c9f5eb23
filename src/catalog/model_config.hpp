// What a model's author asks for: hearth.toml as plain values, every default resolved.
#pragma once

#include "base/result.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::catalog {

/// How the handler is called. row: predict(*args) · batch: predict(rows) → one result a row · dataframe: predict(df).
enum class CallMode { row, batch, dataframe };

std::string_view to_string(CallMode mode);

/// [image]: what the root file system is made of.
struct ImageConfig {
  std::string base = "python";  // the built-in base, an imported image's name, or a SOURCE (see is_image_source)
  std::vector<std::string> python_packages;  // requirement specifiers for pip
  std::string requirements;                  // path of a requirements file inside the folder; empty: none
  std::string wheels;  // folder of wheels inside the folder: pip stays off the network; empty: none
  std::vector<std::string> system_packages;  // Debian package names
  std::map<std::string, std::string> env;

  bool operator==(const ImageConfig&) const = default;
};

/// [resources] of one replica.
struct ResourceConfig {
  double cpu = 1.0;                           // cores
  uint64_t memory_bytes = uint64_t{1} << 30;  // of the whole replica, its tmpfs included
  uint32_t pids = 256;                        // processes and threads
  uint64_t tmp_bytes = uint64_t{256} << 20;   // each tmpfs a program may write to
  uint32_t slots = 1;                         // requests taken at once = worker processes
  bool network = false;

  bool operator==(const ResourceConfig&) const = default;
};

/// [timeouts]
struct TimeoutConfig {
  std::chrono::milliseconds request{30'000};       // a request without its own timeout_seconds
  std::chrono::milliseconds start{600'000};        // from "start" to ready
  std::chrono::milliseconds idle_pause{300'000};   // without requests: frozen; 0 = never
  std::chrono::milliseconds idle_stop{3'600'000};  // without requests: stopped; 0 = never

  bool operator==(const TimeoutConfig&) const = default;
};

struct ModelConfig {
  std::string name;
  std::string handler;  // "module:function"
  std::string setup;    // "module:function", or empty
  std::string ready;    // "module:function", or empty
  CallMode mode = CallMode::row;
  bool preload = false;  // import and set up before the fork
  ImageConfig image;
  std::map<std::string, std::string>
      artifacts;  // path below the code folder → path of the file or folder in the uploaded folder
  ResourceConfig resources;
  TimeoutConfig timeouts;

  bool operator==(const ModelConfig&) const = default;
};

/// "pkg.model:predict" in its two parts.
struct EntryPoint {
  std::string module;
  std::string function;
};

/// Parses hearth.toml. invalid_argument names line, key, what is expected and, for an unknown key, the nearest known
/// one.
Result<ModelConfig> parse_model_config(std::string_view toml);

/// The stored form inside a version record ("format" is the record's). Every value is written out, so that a default
/// that changes later does not change a deployed version.
std::string model_config_to_json(const ModelConfig& config);
Result<ModelConfig> model_config_from_json(std::string_view json);

Result<EntryPoint> parse_entry_point(std::string_view text);

/// Whether `base` is a SOURCE to import ("oci:DIR[:TAG]", "docker-archive:FILE", "docker://REFERENCE") rather than a
/// name.
bool is_image_source(std::string_view base);

}  // namespace hearth::catalog
