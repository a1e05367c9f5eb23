// The rows of posix_rows.hpp that are about reading.
#pragma once

#include "mount/testing/posix_rows.hpp"

#include <vector>

namespace hearth::mount::testing {

std::vector<PosixRow> read_rows();       // read, lseek, mmap
std::vector<PosixRow> directory_rows();  // getdents, seekdir, telldir
std::vector<PosixRow> attribute_rows();  // stat, readlink, xattrs, statfs

}  // namespace hearth::mount::testing
