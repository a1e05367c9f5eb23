// A named image: an imported one, or the built-in base. Generations under images/<name>/<g>.json; the highest is the
// truth.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"
#include "catalog/version_record.hpp"

#include <map>
#include <string>
#include <string_view>

namespace hearth::catalog {

struct ImageRecord {
  std::string name;
  LayerRef layer;      // an import is merged into one layer
  std::string source;  // what it was made from, without credentials, e.g. "docker://debian:12"
  WallTime created;
  std::map<std::string, std::string> env;  // of the image's configuration
  std::string python;                      // absolute path of its interpreter; empty: it has none
  std::string identity;                    // what decides whether it must be made again (recipe version, source digest)
  std::string details;                     // JSON object of the import (image::to_json), kept as it is; "{}" without
};

std::string image_record_to_json(const ImageRecord& record);
Result<ImageRecord> image_record_from_json(std::string_view json);

}  // namespace hearth::catalog
