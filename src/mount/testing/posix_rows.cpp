#include "mount/testing/posix_rows.hpp"

#include "mount/testing/posix_answer.hpp"
#include "mount/testing/posix_reads.hpp"

#include <climits>

#include <linux/fs.h>
#include <linux/openat2.h>
#include <spawn.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include <cstdio>

namespace hearth::mount::testing {

namespace {

using Path = std::filesystem::path;

PosixRow open_row(std::string question, std::string name, int flags, std::string answer) {
  return {std::move(question), [name, flags](const Path& at) { return opening(at / name, flags); }, std::move(answer)};
}

std::vector<PosixRow> openings_for_writing() {
  return {
      open_row("open to write", "file", O_WRONLY, "EROFS"),
      open_row("open to read and write", "file", O_RDWR, "EROFS"),
      open_row("open to append", "file", O_WRONLY | O_APPEND, "EROFS"),
      open_row("open to read and truncate", "file", O_RDONLY | O_TRUNC, "EROFS"),
      open_row("open a new file", "new", O_RDWR | O_CREAT, "EROFS"),
      open_row("open a new file to read", "new", O_RDONLY | O_CREAT, "EROFS"),
      open_row("open with O_CREAT what is there, to read", "file", O_RDONLY | O_CREAT, "ok"),
      open_row("open with O_CREAT what is there, to write", "file", O_WRONLY | O_CREAT, "EROFS"),
      open_row("open with O_CREAT and O_EXCL what is there", "file", O_RDONLY | O_CREAT | O_EXCL, "EEXIST"),
      open_row("open with O_EXCL where a dangling link is", "dangling", O_RDONLY | O_CREAT | O_EXCL, "EEXIST"),
      open_row("open a new file behind a dangling link", "dangling", O_RDWR | O_CREAT, "EROFS"),
      open_row("open a new file in a folder that is none", "file/new", O_RDWR | O_CREAT, "ENOTDIR"),
      open_row("open a new file in a folder that is not there", "nowhere/new", O_RDWR | O_CREAT, "ENOENT"),
      open_row("open an unnamed file", "dir", O_RDWR | O_TMPFILE, "EROFS"),
      open_row("open a folder to write", "dir", O_WRONLY, "EISDIR"),
      open_row("open a device to write, which changes no file system", "null", O_RDWR, "ok"),
      open_row("open a fifo to write, with no reader", "fifo", O_WRONLY | O_NONBLOCK, "ENXIO"),
      open_row("open a socket", "socket", O_RDONLY, "ENXIO"),
  };
}

std::vector<PosixRow> changes_of_names() {
  const auto in = [](const Path& at, const char* name) { return (at / name).string(); };
  return {
      {"unlink a file", [in](const Path& at) { return said(::unlink(in(at, "file").c_str())); }, "EROFS"},
      {"unlink a link", [in](const Path& at) { return said(::unlink(in(at, "link").c_str())); }, "EROFS"},
      {"unlink below what is no folder", [in](const Path& at) { return said(::unlink(in(at, "file/x").c_str())); },
       "ENOTDIR"},
      {"rmdir", [in](const Path& at) { return said(::rmdir(in(at, "dir/sub").c_str())); }, "EROFS"},
      {"rmdir .", [in](const Path& at) { return said(::rmdir(in(at, "dir/.").c_str())); }, "EINVAL"},
      {"mkdir", [in](const Path& at) { return said(::mkdir(in(at, "new").c_str(), 0700)); }, "EROFS"},
      {"mkdir where one is", [in](const Path& at) { return said(::mkdir(in(at, "dir").c_str(), 0700)); }, "EEXIST"},
      {"mkdir in a folder that is not there",
       [in](const Path& at) { return said(::mkdir(in(at, "nowhere/new").c_str(), 0700)); }, "ENOENT"},
      {"rename", [in](const Path& at) { return said(::rename(in(at, "file").c_str(), in(at, "new").c_str())); },
       "EROFS"},
      {"rename over another",
       [in](const Path& at) { return said(::rename(in(at, "file").c_str(), in(at, "empty").c_str())); }, "EROFS"},
      {"exchange two names",
       [in](const Path& at) {
         return said(::renameat2(AT_FDCWD, in(at, "file").c_str(), AT_FDCWD, in(at, "empty").c_str(), RENAME_EXCHANGE));
       },
       "EROFS"},
      {"rename to another file system",
       [in](const Path& at) { return said(::rename(in(at, "file").c_str(), "/dev/shm/hearth-new")); }, "EXDEV"},
      {"link", [in](const Path& at) { return said(::link(in(at, "file").c_str(), in(at, "new").c_str())); }, "EROFS"},
      {"link where something is",
       [in](const Path& at) { return said(::link(in(at, "file").c_str(), in(at, "empty").c_str())); }, "EEXIST"},
      {"symlink", [in](const Path& at) { return said(::symlink("file", in(at, "new").c_str())); }, "EROFS"},
      {"mkfifo", [in](const Path& at) { return said(::mkfifo(in(at, "new").c_str(), 0600)); }, "EROFS"},
      {"mknod of a device", [in](const Path& at) { return said(::mknod(in(at, "new").c_str(), S_IFCHR | 0600, 0)); },
       "EROFS"},
      {"mknod of a file", [in](const Path& at) { return said(::mknod(in(at, "new").c_str(), S_IFREG | 0600, 0)); },
       "EROFS"},
  };
}

std::vector<PosixRow> changes_of_files() {
  const auto on = [](const char* question, const char* name, std::function<long(const char*)> act) {
    return PosixRow{question, [name, act = std::move(act)](const Path& at) { return said(act((at / name).c_str())); },
                    "EROFS"};
  };
  const auto on_reader = [](const char* question, std::function<long(int)> act, const char* answer) {
    return PosixRow{question, [act = std::move(act)](const Path& at) { return said(act(reader(at / "file").get())); },
                    answer};
  };
  return {
      on("chmod", "file", [](const char* path) { return ::chmod(path, 0600); }),
      on("chmod of a folder", "dir", [](const char* path) { return ::chmod(path, 0700); }),
      on("chmod to what it is", "file", [](const char* path) { return ::chmod(path, 0644); }),
      on("chown", "file", [](const char* path) { return ::chown(path, 1, 1); }),
      on("chown to nobody else", "file", [](const char* path) { return ::chown(path, UINT_MAX, UINT_MAX); }),
      on("lchown of a link", "link", [](const char* path) { return ::lchown(path, 1, 1); }),
      on("utimensat", "file", [](const char* path) { return ::utimensat(AT_FDCWD, path, nullptr, 0); }),
      on("utimensat of a link", "link",
         [](const char* path) { return ::utimensat(AT_FDCWD, path, nullptr, AT_SYMLINK_NOFOLLOW); }),
      on("truncate", "file", [](const char* path) { return ::truncate(path, 0); }),
      on("truncate to more", "file", [](const char* path) { return ::truncate(path, 1 << 20); }),
      on("setxattr", "file", [](const char* path) { return ::setxattr(path, "user.new", "x", 1, 0); }),
      on("setxattr of one that is there", "file",
         [](const char* path) { return ::setxattr(path, "user.color", "red", 3, 0); }),
      on("setxattr of an ACL", "file",
         [](const char* path) { return ::setxattr(path, "system.posix_acl_access", "", 0, 0); }),
      on("removexattr", "file", [](const char* path) { return ::removexattr(path, "user.color"); }),
      on("access to write", "file", [](const char* path) { return ::access(path, W_OK); }),
      on("access to write into a folder", "dir", [](const char* path) { return ::access(path, W_OK); }),
      on_reader(
          "fchmod", [](int fd) { return ::fchmod(fd, 0600); }, "EROFS"),
      on_reader(
          "fchown", [](int fd) { return ::fchown(fd, 1, 1); }, "EROFS"),
      on_reader(
          "futimens", [](int fd) { return ::futimens(fd, nullptr); }, "EROFS"),
      on_reader(
          "fsetxattr", [](int fd) { return ::fsetxattr(fd, "user.new", "x", 1, 0); }, "EROFS"),
      on_reader(
          "fremovexattr", [](int fd) { return ::fremovexattr(fd, "user.color"); }, "EROFS"),
      // No descriptor that writes can be had.
      on_reader(
          "ftruncate of what is open to read", [](int fd) { return ::ftruncate(fd, 0); }, "EINVAL"),
      on_reader(
          "fallocate of what is open to read", [](int fd) { return ::fallocate(fd, 0, 0, 1); }, "EBADF"),
      on_reader(
          "write to what is open to read", [](int fd) { return ::pwrite(fd, "x", 1, 0); }, "EBADF"),
  };
}

std::vector<PosixRow> names() {
  const auto status = [](const std::string& question, const std::string& name, const std::string& answer) {
    return PosixRow{question,
                    [name](const Path& at) {
                      struct stat found{};
                      return said(::stat((at.string() + "/" + name).c_str(), &found));
                    },
                    answer};
  };
  const std::string longest(kNameMax, 'n');
  std::string deep;
  for (int i = 0; i < PATH_MAX / 4; ++i) deep += "dir/../";
  return {
      status("a name that is not there", "nowhere", "ENOENT"),
      status("a name in another case", "FILE", "ENOENT"),
      status("a file as a folder", "file/x", "ENOTDIR"),
      status("a file with a slash behind", "file/", "ENOTDIR"),
      status("a fifo as a folder", "fifo/x", "ENOTDIR"),
      status("a dangling link", "dangling", "ENOENT"),
      status("the longest name", longest, "ok"),
      status("a longer name", longest + "n", "ENAMETOOLONG"),
      status("a longer name in the middle", longest + "n/x", "ENAMETOOLONG"),
      status("a path longer than any", deep + "file", "ENAMETOOLONG"),
      status("a link to itself", "loop", "ELOOP"),
      status("links in a circle", "loop-a", "ELOOP"),
      status("a link to itself in the middle", "loop/x", "ELOOP"),
      status("a link whose target has too long a name", "long-link", "ENAMETOOLONG"),
      status("through a link to a folder", "dirlink/inner", "ok"),
      status("down and up again", "dir/sub/../../file", "ok"),
      status("many slashes and dots", "dir//./sub/.././inner", "ok"),
      status("up from a file", "file/..", "ENOTDIR"),
      open_row("open a link with O_NOFOLLOW", "link", O_RDONLY | O_NOFOLLOW, "ELOOP"),
      open_row("open a file with O_DIRECTORY", "file", O_RDONLY | O_DIRECTORY, "ENOTDIR"),
      open_row("open a link to a folder with O_DIRECTORY", "dirlink", O_RDONLY | O_DIRECTORY, "ok"),
      open_row("open a link as a path", "dangling", O_PATH | O_NOFOLLOW, "ok"),
      {"leave a folder with RESOLVE_BENEATH",
       [](const Path& at) {
         const UniqueFd dir(::open((at / "dir").c_str(), O_PATH | O_CLOEXEC));
         open_how how{};
         how.flags = O_RDONLY | O_CLOEXEC;
         how.resolve = RESOLVE_BENEATH;
         const UniqueFd file(static_cast<int>(::syscall(SYS_openat2, dir.get(), "../file", &how, sizeof how)));
         return said(file.get());
       },
       "EXDEV"},
  };
}

/// Of /bin/sh's children or the script's own status.
std::string exit_of(const Path& program) {
  const std::string path = program.string();
  char* const arguments[] = {const_cast<char*>(path.c_str()), nullptr};
  pid_t child = -1;
  if (const int error = ::posix_spawn(&child, path.c_str(), nullptr, nullptr, arguments, ::environ); error != 0) {
    return ::strerrorname_np(error);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return std::to_string(WEXITSTATUS(status));
}

std::vector<PosixRow> permissions() {
  const auto somebody = [](std::string question, std::string name, int mode, std::string answer) {
    return PosixRow{
        std::move(question),
        [name, mode](const Path& at) { return as_somebody([&] { return said(::access((at / name).c_str(), mode)); }); },
        std::move(answer)};
  };
  const auto opens = [](std::string question, std::string name, int flags, std::string answer) {
    return PosixRow{std::move(question),
                    [name, flags](const Path& at) { return as_somebody([&] { return opening(at / name, flags); }); },
                    std::move(answer)};
  };
  return {
      somebody("somebody may read a file", "file", R_OK, "ok"),
      somebody("somebody may not read a secret", "secret", R_OK, "EACCES"),
      somebody("somebody sees that there is a secret", "secret", F_OK, "ok"),
      somebody("somebody may not execute a text", "file", X_OK, "EACCES"),
      somebody("somebody may execute a script", "script", X_OK, "ok"),
      somebody("somebody does not see into a closed folder", "closed/inside", F_OK, "EACCES"),
      somebody("somebody does not see what is not in a closed folder", "closed/nowhere", F_OK, "EACCES"),
      somebody("somebody does not go through a folder without x", "no-search/inside", F_OK, "EACCES"),
      opens("somebody opens a file", "file", O_RDONLY, "ok"),
      opens("somebody does not open a secret", "secret", O_RDONLY, "EACCES"),
      opens("somebody does not list a closed folder", "closed", O_RDONLY | O_DIRECTORY, "EACCES"),
      opens("somebody lists a folder without x", "no-search", O_RDONLY | O_DIRECTORY, "ok"),
      opens("somebody may not say O_NOATIME", "file", O_RDONLY | O_NOATIME, "EPERM"),
      {"somebody may not go into a closed folder",
       [](const Path& at) { return as_somebody([&] { return said(::chdir((at / "closed").c_str())); }); }, "EACCES"},
      {"root may not execute what nobody may",
       [](const Path& at) { return said(::access((at / "file").c_str(), X_OK)); }, "EACCES"},
      {"root reads a secret", [](const Path& at) { return said(::access((at / "secret").c_str(), R_OK)); }, "ok"},
      {"a script runs", [](const Path& at) { return exit_of(at / "script"); }, "7"},
      {"a text does not run", [](const Path& at) { return exit_of(at / "file"); }, "EACCES"},
      {"somebody does not see trusted xattrs",
       [](const Path& at) {
         return as_somebody([&] { return number(::getxattr((at / "file").c_str(), "trusted.key", nullptr, 0)); });
       },
       "ENODATA"},
      {"a file can be locked", [](const Path& at) { return said(::flock(reader(at / "file").get(), LOCK_EX)); }, "ok"},
      {"a part of a file can be locked to read",
       [](const Path& at) {
         struct flock lock{};
         lock.l_type = F_RDLCK;
         return said(::fcntl(reader(at / "file").get(), F_SETLK, &lock));
       },
       "ok"},
  };
}

}  // namespace

std::vector<PosixRow> posix_rows() {
  std::vector<PosixRow> all;
  for (auto* const part : {openings_for_writing, changes_of_names, changes_of_files, names, permissions, read_rows,
                           directory_rows, attribute_rows}) {
    for (auto& row : part()) all.push_back(std::move(row));
  }
  return all;
}

}  // namespace hearth::mount::testing
