// Merges the tars of an image into one tree, by the decisions of docs/layers.md. Pure: no files, no content, only the
// tree.
#pragma once

#include "base/result.hpp"
#include "image/file_tree.hpp"
#include "image/layer_writer.hpp"
#include "oci/tar_reader.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace hearth::image {

/// An entry of a tar whose content is stored already.
struct MergeEntry {
  oci::TarEntry entry;
  StoredContent content;
};

/// A path of an archive without "." and doubled slashes, root-relative; "" is the root. corrupt when it would leave the
/// root by "..", has an impossible component, or is too long.
Result<std::string> clean_path(std::string_view path);

/// One thread.
class LayerMerger {
 public:
  explicit LayerMerger(FileTree& tree) : tree_(tree) {}

  /// Applies one layer: its whiteouts first, then its entries in their order. corrupt or invalid_argument when the
  /// layer makes no sense (the tree is then useless).
  Result<> apply(std::vector<MergeEntry> entries);

  const std::vector<std::string>& notes() const { return notes_; }

 private:
  struct Item;
  /// Whether missing parents are made on the way.
  enum class Missing { make, stop };

  Result<std::vector<Item>> sort_out(std::vector<MergeEntry>& entries);
  Result<> apply_whiteouts(std::vector<Item*>& whiteouts);
  Result<> apply_entry(Item& item);
  Result<> set_root(Item& item);
  Result<> place(InodeId parent, std::string_view name, Item& item);
  Result<> place_hard_link(InodeId parent, std::string_view name, const Item& item);
  Result<FileTree::Inode> make_inode(Item& item);
  Result<std::optional<InodeId>> walk_to(std::string_view path, Missing missing);
  void remove_hidden(const std::vector<std::string>& hidden);
  void note(std::string text);

  FileTree& tree_;
  std::unordered_set<std::string> listed_directories_;  // of the layer that is being applied
  std::vector<std::string> notes_;
};

}  // namespace hearth::image
