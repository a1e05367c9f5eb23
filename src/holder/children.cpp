#include "holder/children.hpp"

#include "base/file.hpp"
#include "base/process.hpp"
#include "base/spawn_actions.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

namespace hearth::holder {

namespace {

constexpr uint32_t kTargetMax = 1023;  // the soft limit children start with

/// The holder raises its own limit of open files; children get the usual one, which programs that use select(2) need.
class UsualFileLimit {
 public:
  UsualFileLimit() {
    ::getrlimit(RLIMIT_NOFILE, &raised_);
    rlimit usual = raised_;
    usual.rlim_cur = std::min<rlim_t>(usual.rlim_max, kTargetMax + 1);
    ::setrlimit(RLIMIT_NOFILE, &usual);
  }
  ~UsualFileLimit() { ::setrlimit(RLIMIT_NOFILE, &raised_); }
  UsualFileLimit(const UsualFileLimit&) = delete;
  UsualFileLimit& operator=(const UsualFileLimit&) = delete;

 private:
  rlimit raised_{};
};

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

void set_attributes(posix_spawnattr_t* attributes) {
  sigset_t all;
  sigfillset(&all);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigdefault(attributes, &all);
  posix_spawnattr_setsigmask(attributes, &none);
  posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
}

}  // namespace

Result<Child> start_child(const Spawn& spawn, const std::vector<UniqueFd>& fds) {
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

  SpawnActions actions;
  set_attributes(&actions.attributes);
  const std::string directory = spawn.directory.empty() ? "/" : spawn.directory;
  posix_spawn_file_actions_addchdir_np(&actions.files, directory.c_str());
  for (size_t i = 0; i < moved.size(); ++i) {
    posix_spawn_file_actions_adddup2(&actions.files, moved[i].get(), static_cast<int>(targets[i]));
  }
  std::vector<char*> args = pointers(spawn.args);
  std::vector<char*> environment = pointers(spawn.environment);
  const UsualFileLimit limit;
  Child child;
  const int error =
      ::posix_spawnp(&child.pid, args[0], &actions.files, &actions.attributes, args.data(), environment.data());
  if (error != 0) return fail_errno("start " + spawn.args[0], error);
  child.start_time = process_start_time(child.pid).value_or(0);
  return child;
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
