#include "image/file_tree.hpp"

#include "base/little_endian.hpp"

#include <limits>

namespace hearth::image {

FileTree::FileTree() {
  add({.type = FileType::directory});
  inodes_[kRootInode].links = 1;
}

InodeId FileTree::add(Inode inode) {
  CHECK_PROMISE(inodes_.size() < std::numeric_limits<InodeId>::max());
  if (inode.type == FileType::directory && !inode.children) inode.children = std::make_unique<Children>();
  inode.links = 0;
  inodes_.push_back(std::move(inode));
  return static_cast<InodeId>(inodes_.size() - 1);
}

void FileTree::link(InodeId directory, std::string_view name, InodeId id) {
  const bool added = inodes_[directory].children->emplace(name, id).second;
  CHECK_PROMISE(added);
  ++inodes_[id].links;
}

/// Without recursion: trees may be as deep as an archive likes.
void FileTree::drop_name(InodeId id) {
  std::vector<InodeId> dropped{id};
  while (!dropped.empty()) {
    const InodeId next = dropped.back();
    dropped.pop_back();
    Inode& inode = inodes_[next];
    if (--inode.links > 0) continue;
    if (inode.children) {
      for (const auto& [name, child_id] : *inode.children) dropped.push_back(child_id);
    }
    pyc_heads_.erase(next);
    inode = Inode{};  // gives its memory back; the number is not used again
  }
}

void FileTree::unlink(InodeId directory, std::string_view name) {
  Children& children = *inodes_[directory].children;
  const auto found = children.find(name);
  if (found == children.end()) return;
  const InodeId id = found->second;
  children.erase(found);
  drop_name(id);
}

void FileTree::clear(InodeId directory) {
  Children gone;
  gone.swap(*inodes_[directory].children);
  for (const auto& [name, id] : gone) drop_name(id);
}

std::optional<InodeId> FileTree::child(InodeId directory, std::string_view name) const {
  const Inode& inode = inodes_[directory];
  if (!inode.children) return std::nullopt;
  const auto found = inode.children->find(name);
  if (found == inode.children->end()) return std::nullopt;
  return found->second;
}

bool FileTree::is_stale(const Inode& source, const PycHead& head) const {
  const std::string_view bytes(head.data(), head.size());
  const auto flags = load_le<uint32_t>(bytes, 4);
  if (flags != 0) return false;  // checked by hash, or not at all
  // Python compares the low 32 bits of the whole seconds and of the size.
  const auto seconds = static_cast<uint32_t>(static_cast<uint64_t>(source.attributes.mtime.seconds));
  return load_le<uint32_t>(bytes, 8) != seconds || load_le<uint32_t>(bytes, 12) != static_cast<uint32_t>(source.size);
}

uint64_t FileTree::count_stale_pyc() const {
  uint64_t stale = 0;
  for (const Inode& directory : inodes_) {
    if (!directory.children || directory.links == 0) continue;
    const auto cache = directory.children->find("__pycache__");
    if (cache == directory.children->end() || !inodes_[cache->second].children) continue;
    for (const auto& [name, id] : *inodes_[cache->second].children) {
      const auto head = pyc_heads_.find(id);
      // module.cpython-311.pyc, module.cpython-311.opt-1.pyc: the module's own name has no dot
      const auto source = directory.children->find(name.substr(0, name.find('.')) + ".py");
      if (head == pyc_heads_.end() || source == directory.children->end()) continue;
      // Python follows a link; where it leads, perhaps into another layer, is not known here.
      if (inodes_[source->second].type != FileType::regular) continue;
      if (is_stale(inodes_[source->second], head->second)) ++stale;
    }
  }
  return stale;
}

}  // namespace hearth::image
