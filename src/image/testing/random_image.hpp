// Random images with the tree they must become: layers made by random changes that are told to a tar and to a model
// alike.
#pragma once

#include "image/testing/tar_writer.hpp"
#include "image/testing/tree_spec.hpp"

#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace hearth::image::testing {

/// Equal seeds give equal images.
class RandomImage {
 public:
  RandomImage(uint32_t seed, int layers, int changes_per_layer);

  const std::vector<std::string>& layers() const { return layers_; }
  TreeSpec expected() const;

 private:
  struct Node {
    NodeSpec spec;
    int links = 0;
  };

  uint32_t below(uint32_t limit) { return static_cast<uint32_t>(random_() % limit); }
  std::string new_path();
  std::string random_name();
  NodeSpec random_attributes();
  std::string random_content();
  void make_sparse(NodeSpec& node, TarFields& fields);
  TarFields fields_of(const std::string& path, const NodeSpec& node) const;
  void put(const std::string& path, NodeSpec node);
  void erase_tree(const std::string& path);
  bool was_touched(const std::string& path) const;

  void change(std::vector<TarFields>& entries, std::vector<TarFields>& marks);
  void add_something(std::vector<TarFields>& entries);
  void add_hard_link(std::vector<TarFields>& entries);
  void remove_something(std::vector<TarFields>& marks);
  void empty_a_directory(std::vector<TarFields>& marks);
  void change_a_directory(std::vector<TarFields>& entries);

  std::mt19937 random_;
  int next_id_ = 1;
  std::map<std::string, int> paths_;  // path → id
  std::map<int, Node> nodes_;
  std::vector<std::string> touched_;  // in this layer
  std::vector<std::string> layers_;
};

}  // namespace hearth::image::testing
