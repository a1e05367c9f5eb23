// Addresses of the native REST: /v1/{model}/{branch}/{version} and /v1/{model}/{version}.
#pragma once

#include "base/result.hpp"

#include <string>
#include <string_view>

namespace hearth::router {

struct InferencePath {
  std::string model;
  std::string branch;   // "/" restored from "~"; "main" when the path names none
  std::string version;  // latest, a number or an alias
};

/// Error not_found: no such address, with what it should look like.
Result<InferencePath> parse_inference_path(std::string_view path);

}  // namespace hearth::router
