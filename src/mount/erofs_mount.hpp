// Mounts EROFS images that lie in plain files, by the mount system calls: never by mount(8), which puts a loop device
// between, so that reads raise no events. Linux 6.12 or later.
#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"

#include <cstdint>
#include <span>

namespace hearth::mount {

/// Mounts `image` (of image::write_erofs) with its devices in the order of the layer's packs. Returns the detached
/// mount, read-only; other attributes and ids are the caller's to set.
///
/// The kernel opens every file again, by /proc/self/fd, and holds it for as long as the mount lives: what is marked for
/// fanotify must be marked before. A device file must be as long as its pack's plain size: what a read asks for beyond
/// the end of a shorter one is EIO at best, and zeros when the read began before it.
///
/// Errors: denied without CAP_SYS_ADMIN; invalid_argument when the kernel refuses the image or a file (or knows no
/// file-backed mounts).
Result<UniqueFd> mount_erofs(int image, std::span<const int> devices);

/// How far the kernel reads ahead on a mount of mount_erofs, all its mounts together: also the largest piece in which a
/// read is asked for. Files that are open already keep what they had. unavailable when /sys does not show the mount.
Result<> set_erofs_read_ahead(int mount, uint32_t kib);

/// Whether the kernel reads what lies in the devices past their page cache (or, where a device's file system cannot do
/// that, as before); takes effect for the next read of any mount of the same image. Through the page cache each read of
/// a disk waits for a kernel thread that sends it: 8 us on an idle machine, a scheduler's tick (4 ms) on a busy one,
/// since EROFS reads its device within the block layer's plug of its own read-ahead. All is kept in memory twice, too.
/// Events are raised either way. Every device must take direct reads of a page: else reads would fail.
/// invalid_argument when the kernel does not know how (before Linux 6.14).
Result<> set_erofs_direct_reads(int mount, bool direct);

}  // namespace hearth::mount
