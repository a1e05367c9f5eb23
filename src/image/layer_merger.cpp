#include "image/layer_merger.hpp"

#include <algorithm>
#include <unordered_map>
#include <utility>

namespace hearth::image {

namespace {

constexpr std::string_view kWhiteout = ".wh.";
constexpr std::string_view kAufsMeta = ".wh..wh.";
constexpr std::string_view kOpaque = ".wh..wh..opq";
constexpr std::string_view kOverlayXattrs = "trusted.overlay.";
constexpr int kMaxSymlinks = 255;
constexpr size_t kMaxNotes = 50;

std::string_view parent_of(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}

std::string_view name_of(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

/// The part of a path up to its first component that begins with ".wh.", if there is one.
std::optional<std::string_view> hidden_part(std::string_view path) {
  for (size_t begin = 0; begin < path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    if (path.substr(begin, end - begin).starts_with(kWhiteout)) return path.substr(0, end);
    begin = end + 1;
  }
  return std::nullopt;
}

Unexpected refuse(std::string_view path, std::string_view why) {
  return fail(ErrorCode::corrupt, "layer entry '" + oci::printable(path) + "' " + std::string(why));
}

}  // namespace

Result<std::string> clean_path(std::string_view path) {
  std::string clean;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view part = path.substr(begin, end - begin);
    begin = end + 1;
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      if (clean.empty()) return refuse(path, "leads out of the image by '..'");
      clean.resize(parent_of(clean).size());
      continue;
    }
    if (part.contains('\0')) return refuse(path, "has a zero byte in its name");
    if (part.size() > oci::kMaxNameBytes) return refuse(path, "has a name of more than 255 bytes");
    if (!clean.empty()) clean += '/';
    clean += part;
  }
  if (clean.size() > oci::kMaxPathBytes) return refuse(path, "has a path of more than 4095 bytes");
  return clean;
}

/// An entry on its way into the tree.
struct LayerMerger::Item {
  MergeEntry* source = nullptr;
  std::string path;  // clean; of a whiteout the name it hides, of an opaque mark the directory
  enum class Kind { entry, hidden, whiteout, opaque } kind = Kind::entry;
  const oci::TarEntry& entry() const { return source->entry; }
};

void LayerMerger::note(std::string text) {
  if (notes_.size() < kMaxNotes && std::ranges::find(notes_, text) == notes_.end()) notes_.push_back(std::move(text));
}

Result<std::vector<LayerMerger::Item>> LayerMerger::sort_out(std::vector<MergeEntry>& entries) {
  std::vector<Item> items;
  items.reserve(entries.size());
  std::unordered_map<std::string_view, bool> is_directory;  // by path, the last listing counts
  for (MergeEntry& entry : entries) {
    Item item{.source = &entry};
    TRY(item.path, clean_path(entry.entry.path));
    const std::string_view name = name_of(item.path);
    const auto hidden = hidden_part(item.path);
    if (name == kOpaque && hidden == std::string_view(item.path)) {
      item.kind = Item::Kind::opaque;
      item.path.resize(parent_of(item.path).size());
    } else if (hidden == std::string_view(item.path) && !name.starts_with(kAufsMeta)) {
      const std::string hides(name.substr(kWhiteout.size()));
      if (hides.empty() || hides == "." || hides == "..")
        return refuse(entry.entry.path, "hides nothing that can be named");
      item.kind = Item::Kind::whiteout;
      const size_t folder = parent_of(item.path).size();
      item.path.replace(folder == 0 ? 0 : folder + 1, std::string::npos, hides);
    } else if (hidden) {
      item.kind = Item::Kind::hidden;
    }
    items.push_back(std::move(item));
  }
  for (const Item& item : items) {
    if (item.kind == Item::Kind::entry) {
      is_directory[item.path] = !item.entry().hard_link && item.entry().type == FileType::directory;
    }
  }
  listed_directories_.clear();
  for (const auto& [path, directory] : is_directory) {
    if (directory) listed_directories_.emplace(path);
  }
  return items;
}

Result<> LayerMerger::apply(std::vector<MergeEntry> entries) {
  TRY(auto items, sort_out(entries));
  std::vector<Item*> whiteouts;
  std::vector<std::string> hidden;
  for (Item& item : items) {
    if (item.kind == Item::Kind::whiteout || item.kind == Item::Kind::opaque) whiteouts.push_back(&item);
    if (item.kind == Item::Kind::hidden) hidden.emplace_back(*hidden_part(item.path));
  }
  TRY_VOID(apply_whiteouts(whiteouts));
  for (Item& item : items) {
    if (item.kind == Item::Kind::entry || item.kind == Item::Kind::hidden) TRY_VOID(apply_entry(item));
  }
  remove_hidden(hidden);
  return {};
}

/// On the tree as the lower layers left it. From the root downwards, so that their order in the tar makes no
/// difference.
Result<> LayerMerger::apply_whiteouts(std::vector<Item*>& whiteouts) {
  std::ranges::sort(whiteouts, {}, [](const Item* item) {
    return std::pair(std::ranges::count(item->path, '/'), std::string_view(item->path));
  });
  for (const Item* item : whiteouts) {
    const bool opaque = item->kind == Item::Kind::opaque;
    TRY(const auto folder, walk_to(opaque ? std::string_view(item->path) : parent_of(item->path), Missing::stop));
    if (!folder) continue;  // nothing below has it
    if (opaque) {
      tree_.clear(*folder);
    } else {
      tree_.unlink(*folder, name_of(item->path));
    }
  }
  return {};
}

/// The directory at a path, symlinks followed inside the root. A symlink that this layer lists as a directory is not
/// followed: its directory takes its place.
Result<std::optional<InodeId>> LayerMerger::walk_to(std::string_view path, Missing missing) {
  std::vector<InodeId> stack{kRootInode};
  std::string resolved;
  std::string pending(path);
  int followed = 0;
  for (size_t begin = 0; begin < pending.size();) {
    const size_t end = std::min(pending.find('/', begin), pending.size());
    const std::string part = pending.substr(begin, end - begin);
    begin = end + 1;
    if (part.empty() || part == ".") continue;
    if (part == "..") {  // only from symlinks; at the root it stays there
      if (stack.size() > 1) stack.pop_back();
      resolved.resize(parent_of(resolved).size());
      continue;
    }
    const std::string here = resolved.empty() ? part : resolved + "/" + part;
    auto child = tree_.child(stack.back(), part);
    if (child && tree_.inode(*child).type == FileType::symlink && !listed_directories_.contains(here)) {
      if (++followed > kMaxSymlinks) return refuse(path, "leads through a loop of symlinks");
      const std::string& target = tree_.inode(*child).target;
      if (target.starts_with('/')) {
        stack.resize(1);
        resolved.clear();
      }
      pending = target + "/" + pending.substr(std::min(begin, pending.size()));
      begin = 0;
      continue;
    }
    if (!child || tree_.inode(*child).type != FileType::directory) {
      if (missing == Missing::stop) return std::optional<InodeId>();
      if (child && followed > 0) return refuse(path, "leads through a symlink to what is no directory");
      if (child) tree_.unlink(stack.back(), part);
      child = tree_.add({.type = FileType::directory});
      tree_.link(stack.back(), part, *child);
    }
    stack.push_back(*child);
    resolved = here;
    if (resolved.size() > oci::kMaxPathBytes) return refuse(path, "has a path of more than 4095 bytes");
  }
  return std::optional<InodeId>(stack.back());
}

Result<> LayerMerger::apply_entry(Item& item) {
  if (item.path.empty()) return set_root(item);
  TRY(const auto parent, walk_to(parent_of(item.path), Missing::make));
  return place(*parent, name_of(item.path), item);
}

Result<> LayerMerger::set_root(Item& item) {
  if (item.entry().hard_link || item.entry().type != FileType::directory) {
    return refuse(item.entry().path, "would make the root something else than a directory");
  }
  TRY(auto inode, make_inode(item));
  tree_.inode(kRootInode).attributes = std::move(inode.attributes);
  return {};
}

Result<> LayerMerger::place(InodeId parent, std::string_view name, Item& item) {
  if (item.entry().hard_link) return place_hard_link(parent, name, item);
  TRY(auto inode, make_inode(item));
  const auto existing = tree_.child(parent, name);
  if (existing && inode.type == FileType::directory && tree_.inode(*existing).type == FileType::directory) {
    tree_.inode(*existing).attributes = std::move(inode.attributes);  // replaced, not added to
    return {};
  }
  if (existing) tree_.unlink(parent, name);
  const bool keep_head = inode.type == FileType::regular && is_pyc(name);
  const InodeId id = tree_.add(std::move(inode));
  tree_.link(parent, name, id);
  if (keep_head) tree_.set_pyc_head(id, item.source->content.head);
  return {};
}

Result<> LayerMerger::place_hard_link(InodeId parent, std::string_view name, const Item& item) {
  const auto no_target = [&item](std::string_view why) {
    return refuse(item.entry().path,
                  "is a hard link to '" + oci::printable(item.entry().link) + "', " + std::string(why));
  };
  auto target_path = clean_path(item.entry().link);
  if (!target_path) return no_target("which is no path inside the image");
  if (target_path->empty()) return no_target("which is the root");
  TRY(const auto folder, walk_to(parent_of(*target_path), Missing::stop));
  const auto target = folder ? tree_.child(*folder, name_of(*target_path)) : std::nullopt;
  if (!target) return no_target("which is neither in the layers below nor earlier in this one");
  if (tree_.inode(*target).type == FileType::directory) return no_target("which is a directory");
  const auto existing = tree_.child(parent, name);
  if (existing == target) return {};
  // What is replaced may be a directory that holds the last name of the target.
  ++tree_.inode(*target).links;
  if (existing) tree_.unlink(parent, name);
  --tree_.inode(*target).links;
  tree_.link(parent, name, *target);
  return {};
}

Result<FileTree::Inode> LayerMerger::make_inode(Item& item) {
  oci::TarEntry& entry = item.source->entry;
  FileTree::Inode inode;
  inode.type = entry.type;
  inode.device = entry.device;
  inode.attributes = std::move(entry.attributes);
  const bool may_have_user_xattrs = entry.type == FileType::regular || entry.type == FileType::directory;
  std::erase_if(inode.attributes.xattrs, [this, &entry, may_have_user_xattrs](const Xattr& xattr) {
    if (xattr.name.starts_with(kOverlayXattrs)) return true;  // overlayfs would obey it
    if (may_have_user_xattrs || !xattr.name.starts_with("user.")) return false;
    note("'" + oci::printable(entry.path) +
         "': user xattrs that Linux allows on files and directories only were left out");
    return true;
  });
  if (entry.type == FileType::symlink) {
    if (entry.link.empty()) return refuse(entry.path, "is a symlink to nothing");
    if (entry.link.size() > oci::kMaxPathBytes) return refuse(entry.path, "is a symlink of more than 4095 bytes");
    inode.attributes.mode = 0777;  // Linux knows no other
    inode.target = std::move(entry.link);
  }
  if (entry.type == FileType::regular) {
    inode.size = entry.size;
    inode.extents = std::move(item.source->content.extents);
  }
  return inode;
}

/// aufs' own files may be targets of hard links, so they exist until the layer is complete.
void LayerMerger::remove_hidden(const std::vector<std::string>& hidden) {
  for (const std::string& path : hidden) {
    if (const auto folder = walk_to(parent_of(path), Missing::stop); folder && *folder) {
      tree_.unlink(**folder, name_of(path));
    }
  }
}

}  // namespace hearth::image
