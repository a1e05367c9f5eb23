// Expected file trees for tests: written down entry by entry, and read back from a layer or from a directory. Three
// sources, one form, so that a difference is a line of text.
#pragma once

#include "base/result.hpp"
#include "image/layer_reader.hpp"
#include "oci/file_metadata.hpp"
#include "oci/tar_reader.hpp"

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace hearth::image::testing {

/// One name of a tree. What does not apply to its type stays at the default.
struct NodeSpec {
  oci::FileType type = oci::FileType::regular;
  uint16_t mode = 0644;
  uint32_t uid = 0;
  uint32_t gid = 0;
  oci::FileTime mtime;
  std::map<std::string, std::string> xattrs;
  std::string content;                  // regular: with holes as zeros (small files only)
  std::vector<oci::DataSegment> holes;  // regular: runs that are not stored
  std::string target;                   // symlink
  oci::Device device;
  std::string same_as;  // first name (in path order) of the same inode; its own path where there is only one
  bool opaque = false;
  bool operator==(const NodeSpec&) const = default;
};

/// Path without leading slash → node; "" is the root.
using TreeSpec = std::map<std::string, NodeSpec>;

/// Everything a layer holds. Files over 64 MiB give only the SHA-256 of their chunks' list as content.
Result<TreeSpec> read_tree(const LayerReader& layer);

/// Everything below a directory on disk, the directory itself included as "". Holes only where `with_holes`.
enum class Holes { compare, ignore };
Result<TreeSpec> read_tree(const std::filesystem::path& directory, Holes holes);

/// One line for each difference, empty when equal.
std::string difference(const TreeSpec& expected, const TreeSpec& actual);

}  // namespace hearth::image::testing
