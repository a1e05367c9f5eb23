// The corner cases of OCI layers: for each an image (its layers' tars) and the tree it must become, or the reason it
// must be refused. Every mount back end is held to the same list.
#pragma once

#include "image/testing/tree_spec.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace hearth::image::testing {

/// Whether umoci, an independent merger, comes to the same tree. Where it does not, docs/layers.md says why we differ.
enum class Judge { umoci, none };

struct ImageCase {
  std::string name;                 // letters, digits and '_'
  std::vector<std::string> layers;  // bottom first; plain or compressed tars
  TreeSpec expected;
  std::string refused;  // part of the error message; then `expected` means nothing
  std::string note;     // part of what the import says it tolerated
  Judge judge = Judge::none;
};

/// All cases. Names are unique.
std::vector<ImageCase> all_image_cases();

std::vector<ImageCase> whiteout_cases();
std::vector<ImageCase> path_cases();
std::vector<ImageCase> link_cases();
std::vector<ImageCase> header_cases();
std::vector<ImageCase> attribute_cases();
std::vector<ImageCase> sparse_cases();
std::vector<ImageCase> size_cases();
std::vector<ImageCase> compression_cases();
std::vector<ImageCase> refused_cases();

/// Writes an expected tree down. Every path needs its parents said too; owners and times are 0 unless set through at().
class Expect {
 public:
  Expect() { directory(""); }
  Expect& directory(std::string path, uint16_t mode = 0755) {
    return put(std::move(path), {.type = oci::FileType::directory, .mode = mode});
  }
  Expect& file(std::string path, std::string content, uint16_t mode = 0644) {
    return put(std::move(path), {.mode = mode, .content = std::move(content)});
  }
  Expect& symlink(std::string path, std::string target) {
    return put(std::move(path), {.type = oci::FileType::symlink, .mode = 0777, .target = std::move(target)});
  }
  /// A further name of a path that was put before and comes before it in byte order.
  Expect& same(const std::string& path, const std::string& first) {
    NodeSpec node = tree_.at(first);
    tree_[path] = std::move(node);
    return *this;
  }
  Expect& put(std::string path, NodeSpec node) {
    node.same_as = path;
    tree_[std::move(path)] = std::move(node);
    return *this;
  }
  template <class Change>
  Expect& at(const std::string& path, const Change& change) {
    change(tree_.at(path));
    return *this;
  }
  const TreeSpec& tree() const { return tree_; }

 private:
  TreeSpec tree_;
};

}  // namespace hearth::image::testing
