#include "mount/testing/mounted_tree.hpp"

#include "base/random_id.hpp"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

namespace hearth::mount::testing {

using image::FileType;
using image::testing::TreeSpec;

TreeSpec as_mounted(TreeSpec layer) {
  for (auto& [path, node] : layer) {
    if (node.type == FileType::whiteout) node.type = FileType::character_device;
    if (node.opaque) node.xattrs["trusted.overlay.opaque"] = "y";
    node.opaque = false;
  }
  return layer;
}

Result<std::string> difference_of_mount(const TreeSpec& expected, int mount) {
  const std::filesystem::path at = std::filesystem::temp_directory_path() / ("hearth-tree-" + random_id());
  if (::mkdir(at.c_str(), 0700) != 0) return fail_errno("make " + at.string(), errno);
  if (::move_mount(mount, "", AT_FDCWD, at.c_str(), MOVE_MOUNT_F_EMPTY_PATH) != 0) {
    const int error = errno;
    ::rmdir(at.c_str());
    return fail_errno("attach a mount", error);
  }
  const auto actual = image::testing::read_tree(at, image::testing::Holes::compare);
  ::umount2(at.c_str(), MNT_DETACH);
  ::rmdir(at.c_str());
  if (!actual) return Unexpected(actual.error());
  return image::testing::difference(expected, *actual);
}

}  // namespace hearth::mount::testing
