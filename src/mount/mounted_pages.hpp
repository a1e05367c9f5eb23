// What the page cache of a mounted layer holds of its files, when that is not to be believed any more.
#pragma once

#include "base/digest.hpp"
#include "image/layer_index.hpp"
#include "mount/page_range.hpp"

#include <cstdint>
#include <vector>

namespace hearth::mount {

/// Inodes of the files with bytes in these pages of the pack.
std::vector<uint32_t> files_in(const image::LayerIndex& index, const Digest& pack, const PageRange& pages);

/// Makes the kernel forget what it has cached of the files with bytes in these pages of the pack: they are read again.
/// Nothing of them is read here. Returns how many of their bytes in question stay cached: a process has those mapped.
uint64_t forget_cached_pages(int mount, const image::LayerIndex& index, const Digest& pack, const PageRange& pages);

}  // namespace hearth::mount
