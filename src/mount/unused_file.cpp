#include "mount/unused_file.hpp"

#include "base/file.hpp"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>

namespace hearth::mount {

Result<UniqueFd> prove_unused(const std::filesystem::path& path) {
  TRY(auto fd, open_file(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK));
  // A break of the lease is told by a signal: one that is ignored, for SIGIO would end the process.
  if (::fcntl(fd.get(), F_SETSIG, SIGURG) != 0) return fail_errno("fcntl " + path.string(), errno);
  if (::fcntl(fd.get(), F_SETLEASE, F_WRLCK) != 0) {
    if (errno == EAGAIN) return fail(ErrorCode::unavailable, path.string() + " is in use");
    return fail_errno("lease " + path.string(), errno);
  }
  return fd;
}

Result<> remove_unused_file(const std::filesystem::path& path) {
  const auto proof = prove_unused(path);
  if (!proof && proof.error().code == ErrorCode::not_found) return {};
  if (!proof) return Unexpected(proof.error());
  if (::unlink(path.c_str()) != 0) return fail_errno("remove " + path.string(), errno);
  return {};
}

}  // namespace hearth::mount
