#include "mount/python_modules.hpp"

#include <algorithm>
#include <utility>

namespace hearth::mount {

namespace {

using image::FileType;

constexpr std::string_view kCacheFolder = "__pycache__";
constexpr std::string_view kInit = "__init__";
constexpr size_t kMaxParts = 32;  // of a dotted name

bool is_library_folder(std::string_view name) {
  constexpr std::string_view kPython = "python3.";
  return name.starts_with(kPython) && name.size() > kPython.size() &&
         std::ranges::all_of(name.substr(kPython.size()), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

PythonModules::PythonModules(std::shared_ptr<const ContentOwners> owners) : owners_(std::move(owners)) {
  const auto& index = owners_->index();
  for (uint32_t number = 1; number < index.inode_count() && roots_.size() < kMaxRoots; ++number) {
    if (index.inode(number).type != FileType::directory) continue;
    const std::string_view name = owners_->name(number);
    const bool is_root = name == "site-packages" || name == "dist-packages" || name == "lib-dynload" ||
                         (is_library_folder(name) && owners_->name(owners_->directory(number)) == "lib");
    if (is_root) roots_.push_back(number);
  }
}

std::optional<uint32_t> PythonModules::child(uint32_t directory, std::string_view name, FileType type) const {
  const auto found = owners_->index().find(owners_->index().inode(directory), name);
  if (!found || found->type != type) return std::nullopt;
  return found->inode;
}

/// The first regular file whose name begins and ends so.
std::optional<uint32_t> PythonModules::file_of(uint32_t directory, std::string_view prefix,
                                               std::string_view suffix) const {
  const auto& index = owners_->index();
  const auto folder = index.inode(directory);
  uint32_t low = 0;
  uint32_t high = folder.count;
  while (low < high) {
    const uint32_t middle = low + (high - low) / 2;
    if (index.entry(folder, middle).name < prefix) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  for (uint32_t i = low; i < folder.count; ++i) {
    const auto entry = index.entry(folder, i);
    if (!entry.name.starts_with(prefix)) break;
    const bool is_optimized = entry.name.contains(".opt-");
    if (entry.type == FileType::regular && entry.name.ends_with(suffix) && !is_optimized) return entry.inode;
  }
  return std::nullopt;
}

/// Code of the module in the folder: compiled, else source.
std::optional<uint32_t> PythonModules::code_of(uint32_t directory, std::string_view name) const {
  const std::string stem = std::string(name) + ".";
  if (const auto cache = child(directory, kCacheFolder, FileType::directory)) {
    if (const auto compiled = file_of(*cache, stem, ".pyc")) return compiled;
  }
  return child(directory, stem + "py", FileType::regular);
}

PythonModules::Module PythonModules::find_in(uint32_t directory, std::string_view dotted) const {
  Module module;
  size_t parts = 0;
  uint32_t at = directory;
  while (!dotted.empty() && ++parts <= kMaxParts) {
    const size_t dot = std::min(dotted.find('.'), dotted.size());
    const std::string_view name = dotted.substr(0, dot);
    dotted.remove_prefix(std::min(dot + 1, dotted.size()));
    if (name.empty()) return {};
    if (const auto package = child(at, name, FileType::directory)) {
      // Without code it is a namespace, or no package at all: what lies in it decides.
      if (const auto init = code_of(*package, kInit)) module.files.push_back(*init);
      module.package = package;
      at = *package;
      continue;
    }
    module.package.reset();
    auto code = code_of(at, name);
    if (!code) code = file_of(at, std::string(name) + ".", ".so");
    if (!code) return dotted.empty() && module.files.empty() ? Module{} : module;
    module.files.push_back(*code);
    return module;  // what follows is something in the module
  }
  return module;
}

PythonModules::Module PythonModules::find(std::string_view dotted) const {
  for (const uint32_t root : roots_) {
    Module module = find_in(root, dotted);
    if (!module.files.empty()) return module;
  }
  return {};
}

std::vector<uint32_t> PythonModules::subpackages(uint32_t directory) const {
  std::vector<uint32_t> files;
  const auto& index = owners_->index();
  const auto folder = index.inode(directory);
  for (uint32_t i = 0; i < folder.count && files.size() < kMaxSubpackages; ++i) {
    const auto entry = index.entry(folder, i);
    if (entry.type != FileType::directory || entry.name == kCacheFolder) continue;
    if (const auto init = code_of(entry.inode, kInit)) files.push_back(*init);
  }
  return files;
}

std::optional<uint32_t> PythonModules::source_of(uint32_t file) const {
  const std::string_view name = owners_->name(file);
  if (!name.ends_with(".pyc")) return std::nullopt;
  return child(home(file), std::string(name.substr(0, name.find('.'))) + ".py", FileType::regular);
}

std::optional<uint32_t> PythonModules::distribution(uint32_t file) const {
  uint32_t at = home(file);
  for (size_t depth = 0; at != 0 && depth < kMaxParts; ++depth) {
    const uint32_t above = owners_->directory(at);
    if (std::ranges::any_of(roots_, [at, above](uint32_t root) { return root == at || root == above; })) return at;
    at = above;
  }
  return std::nullopt;
}

uint32_t PythonModules::home(uint32_t file) const {
  const uint32_t folder = owners_->directory(file);
  return folder != 0 && owners_->name(folder) == kCacheFolder ? owners_->directory(folder) : folder;
}

std::vector<uint32_t> PythonModules::imports(uint32_t file, const std::vector<std::string>& names) const {
  std::vector<uint32_t> files;
  const uint32_t beside = home(file);
  std::optional<uint32_t> last_package;
  const auto add = [&files](const Module& module) {
    files.insert(files.end(), module.files.begin(), module.files.end());
    return !module.files.empty();
  };
  for (const std::string& name : names) {
    const bool is_plain = !name.contains('.');
    const auto in_last = last_package;
    const Module from_path = find(name);
    if (add(from_path)) last_package = from_path.package ? from_path.package : last_package;
    const Module from_home = find_in(beside, name);
    if (add(from_home) && from_home.package && from_path.files.empty()) last_package = from_home.package;
    if (is_plain && in_last) add(find_in(*in_last, name));
  }
  return files;
}

}  // namespace hearth::mount
