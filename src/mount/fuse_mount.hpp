// FUSE mounts by descriptors alone: nothing appears in a mount table until somebody attaches it.
#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"

#include <cstdint>

namespace hearth::mount {

/// Of one request: what the mount, the session and the kernel's read-ahead agree on. libfuse 3.14 has no larger
/// buffers.
inline constexpr uint32_t kFuseRequestBytes = uint32_t{1} << 20;

/// An open /dev/fuse that does not block.
Result<UniqueFd> open_fuse_device();

/// Makes a read-only FUSE file system that is served through `device`: the kernel sends FUSE_INIT there at once. Its
/// detached mount comes from finish_fuse_mount, after FUSE_INIT was answered. Open to all users, whose permissions the
/// kernel checks.
Result<UniqueFd> begin_fuse_mount(int device);
Result<UniqueFd> finish_fuse_mount(int context);

/// How far the kernel reads ahead in files of the mount. Asks nothing of whoever serves it.
Result<> set_fuse_read_ahead(int mount, uint32_t kib);

}  // namespace hearth::mount
