#include "base/file.hpp"

#include "base/random_id.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace hearth {

Result<UniqueFd> open_file(const std::filesystem::path& path, int flags, unsigned mode) {
  UniqueFd fd(::open(path.c_str(), flags | O_CLOEXEC, mode));
  if (!fd) return fail_errno("open " + path.string(), errno);
  return fd;
}

Result<std::string> read_file(const std::filesystem::path& path, uint64_t limit_bytes) {
  TRY(auto fd, open_file(path, O_RDONLY));
  std::string content;
  char buffer[64 * 1024];
  for (;;) {
    const ssize_t got = ::read(fd.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno("read " + path.string(), errno);
    if (got == 0) return content;
    if (content.size() + static_cast<size_t>(got) > limit_bytes) {
      return fail(ErrorCode::exhausted, path.string() + " is larger than " + std::to_string(limit_bytes) + " bytes");
    }
    content.append(buffer, static_cast<size_t>(got));
  }
}

Result<> write_all(int fd, std::string_view bytes, std::string_view what) {
  while (!bytes.empty()) {
    const ssize_t wrote = ::write(fd, bytes.data(), bytes.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return fail_errno(std::string("write ").append(what), errno);
    bytes.remove_prefix(static_cast<size_t>(wrote));
  }
  return {};
}

Result<> write_file_atomic(const std::filesystem::path& path, std::string_view bytes, unsigned mode) {
  const std::filesystem::path temporary = path.string() + ".tmp-" + random_id(8);
  auto written = [&]() -> Result<> {
    TRY(auto fd, open_file(temporary, O_WRONLY | O_CREAT | O_EXCL, mode));
    TRY_VOID(write_all(fd.get(), bytes, temporary.string()));
    if (::fchmod(fd.get(), mode) != 0) return fail_errno("chmod " + temporary.string(), errno);
    if (::fsync(fd.get()) != 0) return fail_errno("fsync " + temporary.string(), errno);
    if (::rename(temporary.c_str(), path.c_str()) != 0) return fail_errno("rename to " + path.string(), errno);
    return {};
  }();
  if (!written) ::unlink(temporary.c_str());
  return written;
}

Result<> make_directories(const std::filesystem::path& path, unsigned mode) {
  if (path.empty()) return {};
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return {};
  TRY_VOID(make_directories(path.parent_path(), mode));
  if (::mkdir(path.c_str(), mode) != 0 && errno != EEXIST) return fail_errno("mkdir " + path.string(), errno);
  return {};
}

}  // namespace hearth
