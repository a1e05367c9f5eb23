#include "image/testing/random_image.hpp"

#include "image/layer_index.hpp"

#include <algorithm>
#include <set>
#include <utility>

namespace hearth::image::testing {

namespace {

std::string parent_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

std::string join(const std::string& folder, const std::string& name) {
  return folder.empty() ? name : folder + "/" + name;
}

bool is_below(const std::string& path, const std::string& folder) {
  return folder.empty() ? !path.empty() : path.starts_with(folder + "/");
}

}  // namespace

RandomImage::RandomImage(uint32_t seed, int layers, int changes_per_layer) : random_(seed) {
  put("", {.type = oci::FileType::directory, .mode = 0755});
  for (int layer = 0; layer < layers; ++layer) {
    touched_.clear();
    std::vector<TarFields> entries;
    std::vector<TarFields> marks;
    for (int i = 0; i < changes_per_layer; ++i) change(entries, marks);
    // Where whiteouts stand in the tar must make no difference.
    for (TarFields& mark : marks) {
      entries.insert(entries.begin() + below(static_cast<uint32_t>(entries.size()) + 1), std::move(mark));
    }
    TarWriter tar;
    for (const TarFields& entry : entries) tar.add(entry);
    const std::string plain = tar.finish();
    layers_.push_back(below(3) == 0 ? plain : below(2) == 0 ? gzip(plain) : zstd(plain));
  }
}

TreeSpec RandomImage::expected() const {
  TreeSpec tree;
  std::map<int, std::string> first;
  for (const auto& [path, id] : paths_) {
    tree[path] = nodes_.at(id).spec;
    tree[path].same_as = first.try_emplace(id, path).first->second;
  }
  return tree;
}

std::string RandomImage::random_name() {
  constexpr std::string_view kLetters = "abcdefgh.-_ \xe9\xff";
  std::string name;
  const uint32_t length = below(20) == 0 ? 120 + below(136) : 1 + below(6);
  for (uint32_t i = 0; i < length; ++i) name += kLetters[below(static_cast<uint32_t>(kLetters.size()))];
  if (name == "." || name == "..") name += "x";
  return name;
}

bool RandomImage::was_touched(const std::string& path) const {
  return std::ranges::any_of(touched_, [&path](const std::string& other) {
    return other == path || is_below(path, other) || is_below(other, path);
  });
}

/// A free name in a directory; the directory may be new in this layer, but is not one that the layer empties or
/// removes.
std::string RandomImage::new_path() {
  std::vector<std::string> folders;
  for (const auto& [path, id] : paths_) {
    if (nodes_.at(id).spec.type == oci::FileType::directory && std::ranges::count(path, '/') < 12)
      folders.push_back(path);
  }
  return join(folders[below(static_cast<uint32_t>(folders.size()))], random_name());
}

NodeSpec RandomImage::random_attributes() {
  NodeSpec node{.mode = static_cast<uint16_t>(below(010000)),
                .uid = below(3) == 0 ? below(0xFFFF'FFFFu) : below(2000),
                .gid = below(70000)};
  node.mtime = {static_cast<int64_t>(random_()) * (below(2) == 0 ? 1 : -1), below(1'000'000'000)};
  if (below(4) == 0) node.xattrs["user.n" + std::to_string(below(3))] = random_content().substr(0, 100);
  if (below(9) == 0) node.xattrs["security.capability"] = std::string("\x01\0\0\x02", 4) + std::string(16, '\2');
  return node;
}

std::string RandomImage::random_content() {
  std::string bytes(below(5) == 0 ? below(3'000'000) : below(2000), '\0');
  const bool noisy = below(2) == 0;
  for (char& c : bytes) c = static_cast<char>(noisy ? random_() : 'x');
  return bytes;
}

/// Some runs of stored bytes, at any byte, with holes between them: whole pages are left when it is a layer.
void RandomImage::make_sparse(NodeSpec& node, TarFields& fields) {
  const uint64_t size = below(3'000'000);
  node.content.assign(size, '\0');
  std::set<uint64_t> stored_pages;
  std::string stored;
  std::string map;
  uint32_t pieces = 0;
  for (uint64_t at = below(20'000); at < size; at += below(below(4) == 0 ? 500'000 : 9'000)) {
    const uint64_t length = std::min<uint64_t>(1 + below(below(6) == 0 ? 300'000 : 6'000), size - at);
    for (uint64_t i = at; i < at + length; ++i) node.content[i] = static_cast<char>(random_());
    for (uint64_t page = at / kPageBytes; page <= (at + length - 1) / kPageBytes; ++page) stored_pages.insert(page);
    stored.append(node.content, at, length);
    map += std::to_string(at) + "\n" + std::to_string(length) + "\n";
    ++pieces;
    at += length;
  }
  for (uint64_t page = 0; page * kPageBytes < size; ++page) {
    if (stored_pages.contains(page)) continue;
    const uint64_t offset = page * kPageBytes;
    const uint64_t length = std::min<uint64_t>(kPageBytes, size - offset);
    if (!node.holes.empty() && node.holes.back().offset + node.holes.back().length == offset) {
      node.holes.back().length += length;
    } else {
      node.holes.push_back({offset, length});
    }
  }
  map = std::to_string(pieces) + "\n" + map;
  map.resize((map.size() + 511) / 512 * 512, '\0');
  fields.data = map + stored;
  fields.pax.emplace_back("GNU.sparse.major", "1");
  fields.pax.emplace_back("GNU.sparse.minor", "0");
  fields.pax.emplace_back("GNU.sparse.realsize", std::to_string(size));
}

TarFields RandomImage::fields_of(const std::string& path, const NodeSpec& node) const {
  TarFields fields{.name = path.substr(0, 100),
                   .mode = node.mode,
                   .uid = node.uid,
                   .gid = node.gid,
                   .major = node.device.major,
                   .minor = node.device.minor};
  fields.pax.emplace_back("path", path.empty() ? "./" : path);
  int64_t seconds = node.mtime.seconds;
  uint32_t fraction = node.mtime.nanoseconds;
  const bool negative = seconds < 0;
  if (negative && fraction > 0) {
    seconds += 1;
    fraction = 1'000'000'000 - fraction;
  }
  const std::string digits = std::to_string(1'000'000'000 + uint64_t{fraction}).substr(1);
  const std::string whole = negative && seconds == 0 ? "-0" : std::to_string(seconds);
  fields.pax.emplace_back("mtime", whole + "." + digits);
  for (const auto& [name, value] : node.xattrs) fields.pax.emplace_back("SCHILY.xattr." + name, value);
  switch (node.type) {
    case oci::FileType::directory:
      fields.type = '5';
      break;
    case oci::FileType::symlink:
      fields.type = '2';
      fields.pax.emplace_back("linkpath", node.target);
      break;
    case oci::FileType::character_device:
      fields.type = '3';
      break;
    case oci::FileType::fifo:
      fields.type = '6';
      break;
    default:
      fields.data = node.content;
  }
  return fields;
}

void RandomImage::put(const std::string& path, NodeSpec node) {
  const int id = next_id_++;
  paths_[path] = id;
  nodes_[id] = {std::move(node), 1};
  touched_.push_back(path);
}

void RandomImage::erase_tree(const std::string& path) {
  std::erase_if(paths_, [&path](const auto& item) { return item.first == path || is_below(item.first, path); });
}

void RandomImage::change(std::vector<TarFields>& entries, std::vector<TarFields>& marks) {
  switch (below(10)) {
    case 0:
      return remove_something(marks);
    case 1:
      return below(3) == 0 ? empty_a_directory(marks) : remove_something(marks);
    case 2:
      return add_hard_link(entries);
    case 3:
      return change_a_directory(entries);
    default:
      return add_something(entries);
  }
}

void RandomImage::add_something(std::vector<TarFields>& entries) {
  std::string path = new_path();
  // Now and then something that is there is replaced.
  if (below(4) == 0 && paths_.size() > 1)
    path = std::next(paths_.begin(), 1 + below(static_cast<uint32_t>(paths_.size()) - 1))->first;
  if (std::ranges::find(touched_, path) != touched_.end()) return;
  if (paths_.contains(path) && was_touched(path)) return;
  NodeSpec node = random_attributes();
  const uint32_t kind = below(12);
  if (kind < 4) {
    node.type = oci::FileType::directory;
  } else if (kind == 4) {
    node = {.type = oci::FileType::symlink,
            .mode = 0777,
            .uid = node.uid,
            .gid = node.gid,
            .mtime = node.mtime,
            .target = "../" + random_name()};
  } else if (kind == 5) {
    node.type = below(2) == 0 ? oci::FileType::fifo : oci::FileType::character_device;
    if (node.type == oci::FileType::character_device) node.device = {1 + below(4095), below(1u << 20u)};
    node.xattrs.clear();
  } else {
    node.content = random_content();
  }
  TarFields fields = fields_of(path, node);
  if (kind == 6) make_sparse(node, fields);
  entries.push_back(std::move(fields));
  const auto old = paths_.find(path);
  const bool merges =
      old != paths_.end() && node.type == oci::FileType::directory && nodes_.at(old->second).spec.type == node.type;
  if (merges) {
    nodes_.at(old->second).spec = std::move(node);
    touched_.push_back(path);
    return;
  }
  erase_tree(path);
  put(path, std::move(node));
}

void RandomImage::add_hard_link(std::vector<TarFields>& entries) {
  std::vector<std::string> files;
  for (const auto& [path, id] : paths_) {
    if (nodes_.at(id).spec.type != oci::FileType::directory) files.push_back(path);
  }
  const std::string path = new_path();
  if (files.empty() || paths_.contains(path) || std::ranges::find(touched_, path) != touched_.end()) return;
  const std::string target = files[below(static_cast<uint32_t>(files.size()))];
  entries.push_back({.name = path.substr(0, 100),
                     .type = '1',
                     .link = target.substr(0, 100),
                     .pax = {{"path", path}, {"linkpath", target}}});
  paths_[path] = paths_.at(target);
  touched_.push_back(path);
  touched_.push_back(target);
}

void RandomImage::remove_something(std::vector<TarFields>& marks) {
  if (paths_.size() < 2) return;
  const std::string path = std::next(paths_.begin(), 1 + below(static_cast<uint32_t>(paths_.size()) - 1))->first;
  const std::string name = path.substr(parent_of(path).empty() ? 0 : parent_of(path).size() + 1);
  if (was_touched(path) || name.size() > 250) return;
  // A whiteout removes what lower layers have; the parent is left alone in this layer.
  const std::string mark = join(parent_of(path), ".wh." + name);
  marks.push_back({.name = mark.substr(0, 100), .pax = {{"path", mark}}});
  erase_tree(path);
  touched_.push_back(path);
}

void RandomImage::empty_a_directory(std::vector<TarFields>& marks) {
  std::vector<std::string> folders;
  for (const auto& [path, id] : paths_) {
    if (!path.empty() && nodes_.at(id).spec.type == oci::FileType::directory && !was_touched(path))
      folders.push_back(path);
  }
  if (folders.empty()) return;
  const std::string folder = folders[below(static_cast<uint32_t>(folders.size()))];
  const std::string mark = folder + "/.wh..wh..opq";
  marks.push_back({.name = mark.substr(0, 100), .pax = {{"path", mark}}});
  std::erase_if(paths_, [&folder](const auto& item) { return is_below(item.first, folder); });
  touched_.push_back(folder);
}

void RandomImage::change_a_directory(std::vector<TarFields>& entries) {
  std::vector<std::string> folders;
  for (const auto& [path, id] : paths_) {
    if (nodes_.at(id).spec.type == oci::FileType::directory && std::ranges::find(touched_, path) == touched_.end())
      folders.push_back(path);
  }
  if (folders.empty()) return;
  const std::string folder = folders[below(static_cast<uint32_t>(folders.size()))];
  NodeSpec node = random_attributes();
  node.type = oci::FileType::directory;
  entries.push_back(fields_of(folder, node));
  nodes_.at(paths_.at(folder)).spec = std::move(node);
  touched_.push_back(folder);
}

}  // namespace hearth::image::testing
