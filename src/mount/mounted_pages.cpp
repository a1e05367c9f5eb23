#include "mount/mounted_pages.hpp"

#include "base/unique_fd.hpp"

#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

namespace hearth::mount {

namespace {

/// Chunks with bytes in these pages of the pack, one flag for each chunk of the layer.
std::vector<bool> chunks_in(const image::LayerIndex& index, const Digest& pack, const PageRange& pages) {
  std::vector<bool> found(index.chunk_count());
  for (uint32_t chunk = 0; chunk < index.chunk_count(); ++chunk) {
    const auto location = index.location(chunk);
    if (index.pack(location.pack).digest != pack) continue;
    found[chunk] = overlap(pages_of(location.plain_offset, index.chunk(chunk).length), pages).length > 0;
  }
  return found;
}

/// Ranges of a file that hold these chunks.
std::vector<PageRange> ranges_of(const image::LayerIndex& index, const image::InodeView& file,
                                 const std::vector<bool>& chunks) {
  std::vector<PageRange> ranges;
  for (uint32_t i = 0; i < file.count; ++i) {
    const auto extent = index.extent(file, i);
    if (chunks[extent.chunk]) ranges.push_back(pages_of(extent.offset, extent.length));
  }
  return ranges;
}

/// The files with bytes in these pages of the pack, by inode (hard links are one), and where the bytes lie in them.
std::map<uint32_t, std::vector<PageRange>> ranges_in(const image::LayerIndex& index, const Digest& pack,
                                                     const PageRange& pages) {
  const auto chunks = chunks_in(index, pack, pages);
  std::map<uint32_t, std::vector<PageRange>> files;
  for (uint32_t number = 0; number < index.inode_count(); ++number) {
    const auto inode = index.inode(number);
    if (inode.type != image::FileType::regular) continue;
    if (auto ranges = ranges_of(index, inode, chunks); !ranges.empty()) files[number] = std::move(ranges);
  }
  return files;
}

/// The path of a directory, "" for the root, else with a slash at its end.
std::string path_of(const image::LayerIndex& index, uint32_t directory) {
  std::string path;
  while (directory != 0) {
    const auto parent = index.inode(index.inode(directory).parent);
    for (uint32_t i = 0; i < parent.count; ++i) {
      const auto entry = index.entry(parent, i);
      if (entry.inode != directory) continue;
      path = std::string(entry.name) + "/" + path;
      break;
    }
    directory = parent.number;
  }
  return path;
}

uint64_t cached_bytes(int file, const PageRange& range) {
  void* const mapped = ::mmap(nullptr, range.length, PROT_READ, MAP_SHARED, file, static_cast<off_t>(range.offset));
  if (mapped == MAP_FAILED) return 0;
  std::vector<unsigned char> resident(range.length / kPageBytes);
  uint64_t bytes = 0;
  if (::mincore(mapped, range.length, resident.data()) == 0) {
    bytes = kPageBytes * static_cast<uint64_t>(std::ranges::count_if(resident, [](auto r) { return (r & 1) != 0; }));
  }
  ::munmap(mapped, range.length);
  return bytes;
}

uint64_t forget(int mount, const std::string& path, const std::vector<PageRange>& ranges) {
  const UniqueFd file(::openat(mount, path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  uint64_t left = 0;
  // A file that cannot be opened (its path is too long) is taken for cached.
  if (file) ::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED);
  for (const auto& range : ranges) left += file ? cached_bytes(file.get(), range) : range.length;
  return left;
}

}  // namespace

std::vector<uint32_t> files_in(const image::LayerIndex& index, const Digest& pack, const PageRange& pages) {
  const auto found = ranges_in(index, pack, pages);
  std::vector<uint32_t> files;
  files.reserve(found.size());
  for (const auto& [number, ranges] : found) files.push_back(number);
  return files;
}

uint64_t forget_cached_pages(int mount, const image::LayerIndex& index, const Digest& pack, const PageRange& pages) {
  auto files = ranges_in(index, pack, pages);
  uint64_t left = 0;
  for (uint32_t number = 0; number < index.inode_count() && !files.empty(); ++number) {
    const auto directory = index.inode(number);
    if (directory.type != image::FileType::directory) continue;
    for (uint32_t i = 0; i < directory.count; ++i) {
      const auto entry = index.entry(directory, i);
      const auto file = files.find(entry.inode);
      if (file == files.end()) continue;
      left += forget(mount, path_of(index, number) + std::string(entry.name), file->second);
      files.erase(file);
    }
  }
  return left;
}

}  // namespace hearth::mount
