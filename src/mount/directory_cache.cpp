#include "mount/directory_cache.hpp"

#include "oci/file_metadata.hpp"

#include <fcntl.h>

#include <cerrno>
#include <string>

namespace hearth::mount {

namespace {
constexpr uint32_t kDepthMax = 2048;  // a longer path does not fit into PATH_MAX
constexpr uint32_t kUnplaced = UINT32_MAX;
}  // namespace

Result<InodePlaces> InodePlaces::of(const image::LayerIndex& index) {
  InodePlaces result;
  result.places_.assign(index.inode_count(), {kUnplaced, 0});
  std::vector<uint32_t> depths(index.inode_count(), 0);
  result.places_[0] = {0, 0};
  // Breadth first: a directory's number is lower than those of what it holds, so one pass in order meets parents first.
  for (uint32_t number = 0; number < index.inode_count(); ++number) {
    const auto inode = index.inode(number);
    if (inode.type != image::FileType::directory) continue;
    if (depths[number] > kDepthMax) {
      return fail(ErrorCode::exhausted, "directories are nested deeper than " + std::to_string(kDepthMax));
    }
    for (uint32_t i = 0; i < inode.count; ++i) {
      const auto entry = index.entry(inode, i);
      if (result.places_[entry.inode].directory != kUnplaced) continue;  // a further name of a hard link
      result.places_[entry.inode] = {number, i};
      depths[entry.inode] = depths[number] + 1;
    }
  }
  return result;
}

Result<int> DirectoryCache::open(uint32_t directory) {
  if (directory == 0) return root_;
  if (const auto found = open_.find(directory); found != open_.end()) return found->second.get();
  // The nearest ancestor that is open, then down again.
  std::vector<uint32_t> missing = {directory};
  for (uint32_t at = places_.directory(directory); at != 0 && !open_.contains(at); at = places_.directory(at)) {
    missing.push_back(at);
  }
  const uint32_t ancestor = places_.directory(missing.back());
  UniqueFd kept;  // when the cache is emptied below, the ancestor stays open
  int parent = ancestor == 0 ? root_ : open_.at(ancestor).get();
  if (open_.size() + missing.size() > kOpenMax) {
    if (ancestor != 0) kept = std::move(open_.at(ancestor));
    open_.clear();
  }
  for (auto next = missing.rbegin(); next != missing.rend(); ++next) {
    const std::string name(places_.name(index_, *next));
    UniqueFd fd(::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd) return fail_errno("open directory " + oci::printable(name), errno);
    parent = fd.get();
    // A path longer than the cache keeps only its end.
    if (missing.size() > kOpenMax) {
      kept = std::move(fd);
    } else {
      open_[*next] = std::move(fd);
    }
  }
  if (kept && parent == kept.get()) open_[directory] = std::move(kept);
  return parent;
}

}  // namespace hearth::mount
