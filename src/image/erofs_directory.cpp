#include "image/erofs_directory.hpp"

#include "base/little_endian.hpp"
#include "image/erofs_format.hpp"

namespace hearth::image::erofs {

namespace {

constexpr uint32_t kDots = 2;

/// Numbers of the format.
uint8_t dirent_type(FileType type) {
  switch (type) {
    case FileType::regular:
      return 1;
    case FileType::directory:
      return 2;
    case FileType::character_device:
    case FileType::whiteout:  // is one, 0:0
      return 3;
    case FileType::block_device:
      return 4;
    case FileType::fifo:
      return 5;
    case FileType::socket:
      return 6;
    case FileType::symlink:
      return 7;
  }
  return 0;
}

}  // namespace

DirectoryBlocks::DirectoryBlocks(const LayerIndex& index, const InodeView& directory)
    : index_(index), directory_(directory) {}

/// The next name in byte order. Only called while there is one.
EntryView DirectoryBlocks::peek() const {
  const EntryView dot{.name = next_dot_ == 0 ? "." : "..",
                      .inode = next_dot_ == 0 ? directory_.number : directory_.parent,
                      .type = FileType::directory};
  if (next_entry_ == directory_.count) return dot;
  const EntryView entry = index_.entry(directory_, next_entry_);
  return next_dot_ < kDots && dot.name < entry.name ? dot : entry;
}

void DirectoryBlocks::advance() {
  const auto& name = block_.back().name;
  if (name == "." || name == "..") {
    ++next_dot_;
  } else {
    ++next_entry_;
  }
}

bool DirectoryBlocks::next() {
  block_.clear();
  bytes_ = 0;
  while (next_entry_ < directory_.count || next_dot_ < kDots) {
    const EntryView entry = peek();
    const auto needed = static_cast<uint32_t>(dirent::kBytes + entry.name.size());
    if (bytes_ + needed > kBlockBytes) break;
    block_.push_back(entry);
    bytes_ += needed;
    advance();
  }
  return bytes_ > 0;
}

void DirectoryBlocks::append_to(std::string& out, const std::function<uint64_t(uint32_t inode)>& nid_of) const {
  auto name_at = static_cast<uint16_t>(block_.size() * dirent::kBytes);
  for (const EntryView& entry : block_) {
    append_le(out, nid_of(entry.inode));
    append_le(out, name_at);
    append_le(out, dirent_type(entry.type));
    append_le(out, uint8_t{0});
    name_at = static_cast<uint16_t>(name_at + entry.name.size());
  }
  for (const EntryView& entry : block_) out += entry.name;
}

uint64_t directory_bytes(const LayerIndex& index, const InodeView& directory) {
  DirectoryBlocks blocks(index, directory);
  uint64_t whole = 0;
  uint64_t last = 0;
  while (blocks.next()) {
    whole += last == 0 ? 0 : kBlockBytes;
    last = blocks.bytes();
  }
  return whole + last;
}

}  // namespace hearth::image::erofs
