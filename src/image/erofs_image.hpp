// Writes the EROFS image of a layer: everything but the content of files, which stays in the plain spaces of the packs
// and is referred to as external devices. docs/formats/erofs.md says what such an image looks like.
#pragma once

#include "base/result.hpp"
#include "image/layer_index.hpp"

#include <cstdint>

namespace hearth::image {

/// Writes the image from the begin of an empty file; not synced. Returns its size in bytes. To be mounted with one
/// device for each pack, in the order of the index, each a file of at least the pack's plain size.
///
/// Equal indexes give equal bytes; equal trees give equal inode numbers. Runs at mount time: about a microsecond an
/// inode, memory four bytes an inode and what the different xattrs need.
///
/// Errors: invalid_argument for what EROFS cannot express (an index of version 1, an xattr of an unknown namespace);
/// exhausted for more than it can hold (xattrs of 64 KiB, sparse files beyond reason) or when the disk is full. Before
/// the first kind is reported nothing is written.
Result<uint64_t> write_erofs(const LayerIndex& index, int fd);

}  // namespace hearth::image
