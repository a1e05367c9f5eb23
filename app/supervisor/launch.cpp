#include "supervisor/launch.hpp"

#include "base/file.hpp"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

namespace hearth::supervisor {

namespace {

constexpr int kFdsAbove = 256;  // copies wait up here until they are put in place

struct Prepared {
  std::vector<char*> args;
  std::vector<char*> environment;             // empty: ours
  std::vector<std::pair<UniqueFd, int>> fds;  // copies above kFdsAbove, and where they belong
  int error_fd = -1;
};

void reset_signals() {
  for (int number = 1; number < NSIG; ++number) ::signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

bool drop_rights(const Unprivileged& user) {
  for (int capability = 0; capability <= CAP_LAST_CAP; ++capability) ::prctl(PR_CAPBSET_DROP, capability);
  return ::setgroups(0, nullptr) == 0 && ::setresgid(user.gid, user.gid, user.gid) == 0 &&
         ::setresuid(user.uid, user.uid, user.uid) == 0 && ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
}

/// In the forked child: only calls that are safe there.
[[noreturn]] void become(const LaunchOptions& options, const Prepared& prepared) {
  ::setsid();
  reset_signals();
  bool right = true;
  for (const auto& [copy, target] : prepared.fds) right = right && ::dup2(copy.get(), target) >= 0;
  right = right && (!options.user || drop_rights(*options.user));
  char* const* environment = prepared.environment.empty() ? environ : prepared.environment.data();
  if (right) ::execve(options.program.c_str(), prepared.args.data(), environment);
  const int error = errno;
  (void)!::write(prepared.error_fd, &error, sizeof error);
  ::_exit(127);
}

Result<> add_fd(Prepared& prepared, int source, int target) {
  UniqueFd copy(::fcntl(source, F_DUPFD_CLOEXEC, kFdsAbove));
  if (!copy) return fail_errno("duplicate a descriptor", errno);
  prepared.fds.emplace_back(std::move(copy), target);
  return {};
}

Result<Prepared> prepare(const LaunchOptions& options) {
  Prepared prepared;
  for (const std::string& arg : options.args) prepared.args.push_back(const_cast<char*>(arg.c_str()));
  prepared.args.push_back(nullptr);
  if (options.environment) {
    for (const std::string& entry : *options.environment)
      prepared.environment.push_back(const_cast<char*>(entry.c_str()));
    prepared.environment.push_back(nullptr);
  }
  TRY(const UniqueFd null, open_file("/dev/null", O_RDONLY));
  TRY(const UniqueFd log, open_file(options.log, O_WRONLY | O_CREAT | O_APPEND, 0640));
  TRY_VOID(add_fd(prepared, null.get(), STDIN_FILENO));
  TRY_VOID(add_fd(prepared, log.get(), STDOUT_FILENO));
  TRY_VOID(add_fd(prepared, log.get(), STDERR_FILENO));
  for (const auto& [source, target] : options.fds) TRY_VOID(add_fd(prepared, source, target));
  return prepared;
}

}  // namespace

Result<WatchedProcess> launch(const LaunchOptions& options) {
  TRY(auto prepared, prepare(options));
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno("create pipe", errno);
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  prepared.error_fd = writer.get();
  const pid_t pid = ::fork();
  if (pid < 0) return fail_errno("start " + options.program, errno);
  if (pid == 0) become(options, prepared);
  writer.reset();
  int error = 0;
  if (::read(reader.get(), &error, sizeof error) == sizeof error) {
    ::waitpid(pid, nullptr, 0);
    return fail_errno("start " + options.program, error);
  }
  auto process = WatchedProcess::child(pid);
  if (!process) return fail(ErrorCode::internal, "lost sight of " + options.args[0] + " as it started");
  return std::move(*process);
}

}  // namespace hearth::supervisor
