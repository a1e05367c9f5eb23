// What decides whether the kernel reads the data files below a mount through their page cache or past it.
#pragma once

#include <cstdint>

namespace hearth::mount {

/// Whether single pages of the file can be read past its page cache: its file system and disk must know direct I/O in
/// pieces as small as that.
bool can_be_read_directly(int file);

struct CachedPages {
  uint64_t looked_at = 0;
  uint64_t cached = 0;
};

/// Looks at windows that are spread evenly over the first `size` bytes. Reads nothing and raises no event. Where the
/// kernel does not tell (before Linux 6.5), as if all were cached.
CachedPages sample_page_cache(int file, uint64_t size);

}  // namespace hearth::mount
