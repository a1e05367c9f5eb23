// Any bytes as a layer index, plain or packed. What decode accepts can be walked completely through every accessor,
// made an EROFS image of, and packed and unpacked without a change.
#include "base/digest.hpp"
#include "base/little_endian.hpp"
#include "base/unique_fd.hpp"
#include "image/erofs_format.hpp"
#include "image/erofs_image.hpp"
#include "image/layer_format.hpp"
#include "image/layer_index.hpp"
#include "image/packed_index.hpp"

#include <fcntl.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

namespace {

/// The checksum of the table of places is put right, so that the fuzzer gets past it.
void mend_checksum(std::string& bytes) {
  namespace format = hearth::image::format;
  const bool packed = hearth::image::is_packed_index(bytes);
  const size_t head = packed ? format::packed::kHeadBytes : 0;
  if (bytes.size() < format::packed::kHeadBytes + 32) return;
  static_assert(format::packed::kFrameBytesAt == format::header::kTreeBytesAt);
  const auto tree_bytes = hearth::load_le<uint64_t>(bytes, format::header::kTreeBytesAt);
  if (tree_bytes > bytes.size() - head - 32) return;
  const size_t trailer = bytes.size() - 32;
  const auto digest =
      hearth::Digest::of(std::string_view(bytes).substr(head + tree_bytes, trailer - head - tree_bytes));
  std::memcpy(bytes.data() + trailer, digest.bytes().data(), 32);
}

/// What a mount by pages relies on.
size_t check_pages(const hearth::image::LayerIndex& index, const hearth::image::InodeView& file,
                   const hearth::image::Extent& extent) {
  using hearth::image::kPageBytes;
  CHECK_PROMISE(extent.offset % kPageBytes == 0);
  CHECK_PROMISE(extent.length % kPageBytes == 0 || extent.offset + extent.length == file.size);
  const auto place = index.location(extent.chunk);
  const auto pack = index.pack(place.pack);
  CHECK_PROMISE(place.plain_offset % kPageBytes == 0 && pack.plain_size % kPageBytes == 0);
  CHECK_PROMISE(place.plain_offset + extent.length <= pack.plain_size);
  size_t seen = 0;
  for (uint32_t i = 0; i < index.block_count(extent.chunk); ++i) seen += index.block(extent.chunk, i).bytes()[0];
  return seen;
}

size_t walk(const hearth::image::LayerIndex& index) {
  using hearth::image::FileType;
  size_t seen = 0;
  for (uint32_t number = 0; number < index.inode_count(); ++number) {
    const auto inode = index.inode(number);
    seen += inode.target.size() + inode.mode;
    for (uint32_t i = 0; i < inode.xattr_count; ++i)
      seen += index.xattr(inode, i).value.size() + index.xattr(inode, i).name.size();
    if (inode.type == FileType::directory) {
      for (uint32_t i = 0; i < inode.count; ++i) {
        const auto entry = index.entry(inode, i);
        CHECK_PROMISE(index.find(inode, entry.name)->inode == entry.inode);
        CHECK_PROMISE(entry.type != FileType::directory || index.inode(entry.inode).parent == number);
        CHECK_PROMISE(entry.inode > number || entry.type != FileType::directory);
      }
    } else if (inode.type == FileType::regular) {
      for (uint32_t i = 0; i < inode.count; ++i) {
        const auto extent = index.extent(inode, i);
        CHECK_PROMISE(extent.offset + extent.length <= inode.size);
        const auto place = index.location(extent.chunk);
        CHECK_PROMISE(place.offset + place.stored_length <= index.pack(place.pack).size);
        if (index.is_page_mapped()) seen += check_pages(index, inode, extent);
      }
    }
  }
  return seen + index.stored_bytes();
}

/// A plain index of version 2 comes back as it was, but for its checksum.
void check_packing(const std::string& plain) {
  const std::string stored = hearth::image::pack_index(plain);
  if (!hearth::image::is_packed_index(stored)) return;
  CHECK_PROMISE(*hearth::image::unpack_index(stored) == plain.substr(0, plain.size() - 32));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string bytes(reinterpret_cast<const char*>(data), size);
  mend_checksum(bytes);
  const auto index = hearth::image::LayerIndex::decode(bytes);
  if (!index) return 0;
  if (index->is_page_mapped() && !hearth::image::is_packed_index(bytes)) check_packing(bytes);
  static const hearth::UniqueFd nowhere(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  const auto image = hearth::image::write_erofs(*index, nowhere.get());  // or says why not
  CHECK_PROMISE(!image || (*image > 0 && *image % hearth::image::erofs::kBlockBytes == 0));
  return walk(*index) == SIZE_MAX ? 1 : 0;
}
