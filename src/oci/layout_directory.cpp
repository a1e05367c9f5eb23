#include "base/file.hpp"
#include "base/unique_fd.hpp"
#include "oci/layout_files.hpp"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace hearth::oci {

namespace {

class LayoutDirectory final : public LayoutFiles {
 public:
  LayoutDirectory(UniqueFd directory, std::string name) : directory_(std::move(directory)), name_(std::move(name)) {}
  const std::string& name() const override { return name_; }

  /// Nothing on the way may be a symlink, and the end must be a regular file: what lies there came from outside.
  Result<LayoutFile> open(const std::string& path) const override {
    const std::string full = name_ + "/" + path;
    struct open_how how{};
    how.flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    UniqueFd fd(static_cast<int>(::syscall(SYS_openat2, directory_.get(), path.c_str(), &how, sizeof how)));
    if (!fd && errno == ELOOP) return fail(ErrorCode::corrupt, full + " is a symlink, not a regular file");
    if (!fd) return fail_errno(full, errno);
    struct stat info{};
    if (::fstat(fd.get(), &info) != 0) return fail_errno("stat " + full, errno);
    if (!S_ISREG(info.st_mode)) return fail(ErrorCode::corrupt, full + " is no regular file");
    const auto size = static_cast<uint64_t>(info.st_size);
    auto shared = std::make_shared<const UniqueFd>(std::move(fd));
    return LayoutFile{std::make_unique<FileSource>(std::move(shared), 0, size, full), size};
  }

 private:
  UniqueFd directory_;
  std::string name_;
};

}  // namespace

Result<std::shared_ptr<const LayoutFiles>> open_layout_directory(const std::filesystem::path& directory) {
  TRY(auto fd, open_file(directory, O_RDONLY | O_DIRECTORY));
  return std::make_shared<const LayoutDirectory>(std::move(fd), directory.string());
}

}  // namespace hearth::oci
