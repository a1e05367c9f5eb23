#include "container/id_mapping.hpp"

#include "base/file.hpp"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <string>

namespace hearth::container {

namespace {

/// A child in a new user namespace that does nothing until its pipe closes.
class NamespaceHolder {
 public:
  static Result<NamespaceHolder> start() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno("pipe", errno);
    UniqueFd read_end(ends[0]);
    UniqueFd write_end(ends[1]);
    // The raw call: nothing of the C library runs in the child, so a process with threads may do this.
    const long pid = ::syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, nullptr, nullptr, nullptr, nullptr);
    if (pid < 0) {
      const int error = errno;
      if (error == ENOSPC || error == EPERM || error == EINVAL) {
        return fail(ErrorCode::unavailable,
                    "this machine makes no user namespaces (check sysctl user.max_user_namespaces and that Hearth runs "
                    "as root)");
      }
      return fail_errno("make a user namespace", error);
    }
    if (pid == 0) {
      ::close(ends[1]);
      char byte = 0;
      (void)!::read(ends[0], &byte, 1);
      ::_exit(0);
    }
    return NamespaceHolder(static_cast<pid_t>(pid), std::move(write_end));
  }

  NamespaceHolder(NamespaceHolder&& other) noexcept
      : pid_(std::exchange(other.pid_, -1)), pipe_(std::move(other.pipe_)) {}
  NamespaceHolder& operator=(NamespaceHolder&&) = delete;
  ~NamespaceHolder() {
    if (pid_ < 0) return;
    ::kill(pid_, SIGKILL);
    while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }

  std::string proc(const char* name) const { return "/proc/" + std::to_string(pid_) + "/" + name; }

 private:
  NamespaceHolder(pid_t pid, UniqueFd pipe) : pid_(pid), pipe_(std::move(pipe)) {}
  pid_t pid_;
  UniqueFd pipe_;
};

}  // namespace

Result<UserNamespace> make_user_namespace(const IdMap& map) {
  TRY(auto holder, NamespaceHolder::start());
  const std::string line = "0 " + std::to_string(map.host_base) + " " + std::to_string(map.count) + "\n";
  for (const char* name : {"uid_map", "gid_map"}) {
    TRY(auto file, open_file(holder.proc(name), O_WRONLY));
    TRY_VOID(write_all(file.get(), line, "id map " + line));
  }
  TRY(auto user_namespace, open_file(holder.proc("ns/user"), O_RDONLY));
  return std::make_shared<const UniqueFd>(std::move(user_namespace));
}

}  // namespace hearth::container
