// A version: an immutable deployed build. Plain values, stored as JSON (docs/formats/catalog.md).
#pragma once

#include "base/clock.hpp"
#include "base/digest.hpp"
#include "base/result.hpp"
#include "catalog/model_config.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::catalog {

enum class LayerRole { base, packages, code, artifact };

std::string_view to_string(LayerRole role);

/// One stored file tree: the digest of its index, looked up in the workspace, then in shared/.
struct LayerRef {
  Digest digest;
  uint64_t size = 0;  // bytes of file content in the tree
  LayerRole role = LayerRole::base;

  bool operator==(const LayerRef&) const = default;
};

/// A file or folder of a layer, mounted read-only beside the stack.
struct ArtifactMount {
  LayerRef layer;
  std::string from;  // path inside the layer, without leading slash
  std::string to;    // absolute path in the replica; a placeholder lies there in the code layer

  bool operator==(const ArtifactMount&) const = default;
};

/// Everything a node needs to make a root file system, and how to start Python in it.
struct ImageSpec {
  std::vector<LayerRef> layers;  // bottom to top
  std::vector<ArtifactMount> artifacts;
  std::map<std::string, std::string> env;  // the base image's, then hearth.toml's over it
  std::string python = "/usr/bin/python3";
  uint32_t uid = 1000;
  uint32_t gid = 1000;

  bool operator==(const ImageSpec&) const = default;
};

/// Names a branch of a model; valid by the rules of names.hpp.
struct BranchRef {
  std::string workspace;
  std::string model;
  std::string branch;

  auto operator<=>(const BranchRef&) const = default;
};

struct VersionRecord {
  BranchRef branch;
  uint32_t version = 0;
  WallTime created;
  ModelConfig config;
  ImageSpec image;
};

/// JSON both ways. Readers refuse another "format" and wrong or missing fields (corrupt), and ignore fields they do not
/// know.
std::string image_spec_to_json(const ImageSpec& image);
Result<ImageSpec> image_spec_from_json(std::string_view json);
std::string version_record_to_json(const VersionRecord& record);
Result<VersionRecord> version_record_from_json(std::string_view json);

}  // namespace hearth::catalog
