#include "container/spawner.hpp"

#include "base/file.hpp"
#include "base/unique_fd.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace hearth::container {

namespace {

constexpr int kAbove = 512;  // sources are moved up here first, so that no target overwrites one still to come

class FileActions {
 public:
  FileActions() { posix_spawn_file_actions_init(&actions_); }
  ~FileActions() { posix_spawn_file_actions_destroy(&actions_); }
  FileActions(const FileActions&) = delete;
  FileActions& operator=(const FileActions&) = delete;
  posix_spawn_file_actions_t* get() { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_;
};

class Attributes {
 public:
  Attributes() {
    posix_spawnattr_init(&attributes_);
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setsigdefault(&attributes_, &all);
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
  }
  ~Attributes() { posix_spawnattr_destroy(&attributes_); }
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;
  const posix_spawnattr_t* get() const { return &attributes_; }

 private:
  posix_spawnattr_t attributes_;
};

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> result;
  result.reserve(strings.size() + 1);
  for (const auto& string : strings) result.push_back(const_cast<char*>(string.c_str()));
  result.push_back(nullptr);
  return result;
}

Result<pid_t> start(const SpawnRequest& request) {
  std::vector<std::pair<int, int>> mapped = request.fds;
  TRY(auto null, open_file("/dev/null", O_RDWR));
  for (const int standard : {0, 1, 2}) {
    const auto named = std::ranges::any_of(mapped, [standard](const auto& pair) { return pair.first == standard; });
    if (!named) mapped.emplace_back(standard, null.get());
  }
  FileActions actions;
  std::vector<UniqueFd> moved;
  for (const auto& [target, source] : mapped) {
    moved.emplace_back(::fcntl(source, F_DUPFD_CLOEXEC, kAbove));
    if (!moved.back()) return fail_errno("pass descriptor " + std::to_string(source), errno);
    posix_spawn_file_actions_adddup2(actions.get(), moved.back().get(), target);
  }
  posix_spawn_file_actions_addchdir_np(actions.get(), request.cwd.c_str());
  const Attributes attributes;
  pid_t pid = -1;
  const int error = ::posix_spawn(&pid, request.argv.at(0).c_str(), actions.get(), attributes.get(),
                                  pointers(request.argv).data(), pointers(request.env).data());
  if (error != 0) return fail_errno("start " + request.argv[0], error);
  return pid;
}

Result<int> reap(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return fail_errno("wait for a child", errno);
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

Result<int> DirectSpawner::run(const SpawnRequest& request) {
  TRY(const pid_t pid, start(request));
  const UniqueFd handle(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  for (;;) {
    int timeout_ms = -1;
    if (const auto left = request.deadline.left(mono_now())) {
      timeout_ms = static_cast<int>(std::chrono::ceil<milliseconds>(*left).count());
    }
    pollfd waiter{handle.get(), POLLIN, 0};
    const int ready = ::poll(&waiter, 1, timeout_ms);
    if (ready > 0 || (ready < 0 && errno != EINTR)) return reap(pid);
    if (ready == 0) {
      ::kill(-pid, SIGKILL);
      TRY_VOID(reap(pid));
      return fail(ErrorCode::deadline_exceeded, request.argv[0] + " did not finish in time");
    }
  }
}

}  // namespace hearth::container
