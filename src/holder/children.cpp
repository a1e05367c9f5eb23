#include "holder/children.hpp"

#include "base/file.hpp"
#include "base/process.hpp"
#include "holder/kept_descriptors.hpp"
#include "holder/oom_protection.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <memory>

namespace hearth::holder {

namespace {

#if defined(__has_feature) && __has_feature(thread_sanitizer)
// ThreadSanitizer's own clone() takes every child for a fork; this is glibc's.
extern "C" int __clone(int (*run)(void*), void* stack, int flags, void* argument, ...);
constexpr auto kClone = &__clone;
#else
constexpr auto kClone = &::clone;
#endif

constexpr uint32_t kTargetMax = 1023;  // the soft limit children start with
constexpr size_t kStackBytes = 64 * 1024;
static_assert(kFirstHeld > kTargetMax + kSeqpacketFdsMax + 3, "what a child gets must lie below what it shall not see");

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> out;
  out.reserve(strings.size() + 1);
  for (const std::string& s : strings) out.push_back(const_cast<char*>(s.c_str()));
  out.push_back(nullptr);
  return out;
}

Result<> check(const Spawn& spawn, const std::vector<UniqueFd>& fds) {
  if (spawn.args.empty() || spawn.args[0].empty()) return fail(ErrorCode::invalid_argument, "spawn: no program named");
  if (spawn.targets.size() != fds.size()) {
    return fail(ErrorCode::invalid_argument, "spawn: " + std::to_string(spawn.targets.size()) + " targets for " +
                                                 std::to_string(fds.size()) + " descriptors");
  }
  for (const uint32_t target : spawn.targets) {
    if (target > kTargetMax) return fail(ErrorCode::invalid_argument, "spawn: descriptor number above 1023");
    if (std::ranges::count(spawn.targets, target) > 1) {
      return fail(ErrorCode::invalid_argument, "spawn: descriptor number given twice: " + std::to_string(target));
    }
  }
  const auto has_nul = [](const std::string& s) { return s.find('\0') != std::string::npos; };
  if (std::ranges::any_of(spawn.args, has_nul) || std::ranges::any_of(spawn.environment, has_nul) ||
      has_nul(spawn.directory) || has_nul(spawn.output)) {
    return fail(ErrorCode::invalid_argument, "spawn: a zero byte in an argument");
  }
  return {};
}

/// Copies numbered above every target, so that no copy is overwritten before it has been used.
Result<std::vector<UniqueFd>> moved_above_targets(const std::vector<int>& sources) {
  std::vector<UniqueFd> moved;
  for (const int source : sources) {
    moved.emplace_back(::fcntl(source, F_DUPFD_CLOEXEC, static_cast<int>(kTargetMax) + 1));
    if (!moved.back()) return fail_errno("spawn: duplicate a descriptor", errno);
  }
  return moved;
}

/// What a child needs between clone and exec. It lies in the holder's memory, which both have until the exec.
struct Plan {
  const char* program;
  char** args;
  char** environment;
  const char* directory;
  const UniqueFd* sources;
  const uint32_t* targets;
  size_t count;
  int last_source;
  rlimit files;
  const char* oom_score;
  size_t oom_score_bytes;  // 0: as it is
  int error = 0;
};

/// What fails here is no reason not to start: the child then is as safe as the holder. Until the exec the kernel keeps
/// a score for this process alone, although it shares the holder's memory.
__attribute__((no_sanitize("address", "thread"))) void set_oom_score(const Plan& plan) {
  if (plan.oom_score_bytes == 0) return;
  const int file = ::open(kOomScoreFile, O_WRONLY | O_CLOEXEC);
  if (file < 0) return;
  (void)!::write(file, plan.oom_score, plan.oom_score_bytes);
  ::close(file);
}

/// Runs in the child, on a stack of its own, while the holder waits for the exec: nothing here may allocate or lock.
/// The table of descriptors is the holder's until the first line has made a copy, which leaves out all that is kept:
/// copying that, and closing it again in the exec, would take milliseconds when there is much.
__attribute__((no_sanitize("address", "thread"))) int become(void* argument) {
  Plan& plan = *static_cast<Plan*>(argument);
  bool right = ::close_range(static_cast<unsigned>(plan.last_source) + 1, ~0U, CLOSE_RANGE_UNSHARE) == 0 ||
               ::unshare(CLONE_FILES) == 0;
  if (right) {
    ::setsid();
    set_oom_score(plan);
    for (int signal = 1; signal < NSIG; ++signal) ::signal(signal, SIG_DFL);
    for (size_t i = 0; i < plan.count && right; ++i) {
      right = ::dup2(plan.sources[i].get(), static_cast<int>(plan.targets[i])) >= 0;
    }
    right = right && ::chdir(plan.directory) == 0;
    ::setrlimit(RLIMIT_NOFILE, &plan.files);
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    if (right) ::execve(plan.program, plan.args, plan.environment);
  }
  plan.error = errno;
  ::_exit(127);
}

/// The pid, or an errno in plan.error.
pid_t start(Plan& plan) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::sigprocmask(SIG_BLOCK, &all, &before);  // no handler of ours runs in the child
  const auto stack = std::make_unique_for_overwrite<std::byte[]>(kStackBytes);
  const pid_t pid = kClone(become, stack.get() + kStackBytes, CLONE_VM | CLONE_VFORK | CLONE_FILES | SIGCHLD, &plan);
  if (pid < 0) plan.error = errno;
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  if (pid > 0 && plan.error != 0) ::waitpid(pid, nullptr, 0);
  return pid;
}

/// The path to execute: looked up in our PATH when it is a bare name.
Result<std::string> program_of(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  auto found = find_program(name);
  if (!found) return fail_errno("start " + name, ENOENT);
  return std::move(*found);
}

}  // namespace

Result<Child> start_child(const Spawn& spawn, const std::vector<UniqueFd>& fds, const std::string& oom_score) {
  TRY_VOID(check(spawn, fds));
  TRY(const UniqueFd null, open_file("/dev/null", O_RDWR));
  UniqueFd output;
  if (!spawn.output.empty()) {
    TRY(output, open_file(spawn.output, O_WRONLY | O_CREAT | O_APPEND | O_NOCTTY, 0600));
  }
  std::vector<int> sources = {null.get(), output ? output.get() : null.get(), output ? output.get() : null.get()};
  std::vector<uint32_t> targets = {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO};
  for (size_t i = 0; i < fds.size(); ++i) {
    sources.push_back(fds[i].get());
    targets.push_back(spawn.targets[i]);  // later ones replace the three above
  }
  TRY(const auto moved, moved_above_targets(sources));

  TRY(const std::string program, program_of(spawn.args[0]));
  const std::string directory = spawn.directory.empty() ? "/" : spawn.directory;
  std::vector<char*> args = pointers(spawn.args);
  std::vector<char*> environment = pointers(spawn.environment);
  // The holder raises its own limit of open files; children get the usual one, which programs that use select(2) need.
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = std::min<rlim_t>(files.rlim_max, kTargetMax + 1);
  Plan plan{.program = program.c_str(),
            .args = args.data(),
            .environment = environment.data(),
            .directory = directory.c_str(),
            .sources = moved.data(),
            .targets = targets.data(),
            .count = moved.size(),
            .last_source = std::ranges::max_element(moved, {}, &UniqueFd::get)->get(),
            .files = files,
            .oom_score = oom_score.data(),
            .oom_score_bytes = oom_score.size()};
  const pid_t pid = start(plan);
  if (plan.error != 0) return fail_errno("start " + spawn.args[0], plan.error);
  return Child{pid, process_start_time(pid).value_or(0)};
}

std::vector<Exit> reap_children() {
  std::vector<Exit> exits;
  for (;;) {
    siginfo_t info{};
    // Look first and take after: the start time can only be read while the zombie is there.
    if (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) return exits;
    Exit exit;
    exit.child = {info.si_pid, process_start_time(info.si_pid).value_or(0)};
    (info.si_code == CLD_EXITED ? exit.code : exit.signal) = info.si_status;
    ::waitid(P_PID, static_cast<id_t>(info.si_pid), &info, WEXITED | WNOHANG);
    exits.push_back(exit);
  }
}

}  // namespace hearth::holder
