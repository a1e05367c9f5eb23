#include "base/process.hpp"

#include "base/file.hpp"
#include "base/spawn_actions.hpp"
#include "base/unique_fd.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>

extern char** environ;

namespace hearth {

namespace {

constexpr size_t kOutputKept = 64 * 1024;

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> out;
  out.reserve(strings.size() + 1);
  for (const std::string& s : strings) out.push_back(const_cast<char*>(s.c_str()));
  out.push_back(nullptr);
  return out;
}

Result<pid_t> spawn(const ProcessOptions& options, int input, int output) {
  SpawnActions actions;
  posix_spawn_file_actions_adddup2(&actions.files, input, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions.files, output, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions.files, output, STDERR_FILENO);
  if (!options.directory.empty()) posix_spawn_file_actions_addchdir_np(&actions.files, options.directory.c_str());
  // Its own group, so that a deadline reaches its children; default signals whatever the caller ignores.
  sigset_t defaults;
  sigfillset(&defaults);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigdefault(&actions.attributes, &defaults);
  posix_spawnattr_setsigmask(&actions.attributes, &none);
  posix_spawnattr_setpgroup(&actions.attributes, 0);
  posix_spawnattr_setflags(&actions.attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);

  std::vector<char*> args = pointers(options.args);
  std::vector<char*> environment;
  if (options.environment) environment = pointers(*options.environment);
  pid_t pid = -1;
  const int error = ::posix_spawnp(&pid, args[0], &actions.files, &actions.attributes, args.data(),
                                   options.environment ? environment.data() : environ);
  if (error != 0) return fail_errno("start " + options.args[0], error);
  return pid;
}

Result<UniqueFd> input_file(std::string_view input) {
  if (input.empty()) return open_file("/dev/null", O_RDONLY);
  char name[] = "/tmp/hearth-input-XXXXXX";
  UniqueFd fd(::mkostemp(name, O_CLOEXEC));
  if (!fd) return fail_errno("create temporary file", errno);
  ::unlink(name);
  TRY_VOID(write_all(fd.get(), input, name));
  ::lseek(fd.get(), 0, SEEK_SET);
  return fd;
}

/// Reads until end of file; false when the deadline passed first.
bool drain(int fd, const ProcessOptions& options, std::string& collected) {
  char buffer[16 * 1024];
  for (;;) {
    int timeout_ms = -1;
    if (auto left = options.deadline.left(mono_now())) {
      timeout_ms = static_cast<int>(std::chrono::ceil<milliseconds>(*left).count());
    }
    pollfd waiter{fd, POLLIN, 0};
    const int ready = ::poll(&waiter, 1, timeout_ms);
    if (ready == 0) return false;
    if (ready < 0) continue;  // EINTR
    const ssize_t got = ::read(fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return true;
    const std::string_view text(buffer, static_cast<size_t>(got));
    if (options.on_output) {
      options.on_output(text);
    } else {
      collected += text;
      if (collected.size() > 2 * kOutputKept) collected.erase(0, collected.size() - kOutputKept);
    }
  }
}

}  // namespace

Result<ProcessExit> run_process(const ProcessOptions& options) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno("create pipe", errno);
  UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  TRY(auto input, input_file(options.input));
  TRY(auto pid, spawn(options, input.get(), writer.get()));
  writer.reset();

  ProcessExit exit;
  const bool finished = drain(reader.get(), options, exit.output);
  if (!finished) ::kill(-pid, SIGKILL);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!finished) return fail(ErrorCode::deadline_exceeded, options.args[0] + " did not finish in time");
  exit.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  if (exit.output.size() > kOutputKept) exit.output.erase(0, exit.output.size() - kOutputKept);
  return exit;
}

std::optional<uint64_t> process_stat_field(pid_t pid, int field) {
  const auto stat = read_file("/proc/" + std::to_string(pid) + "/stat");
  if (!stat) return std::nullopt;
  // The name in field 2 may hold spaces and brackets: count from its last bracket.
  size_t at = stat->rfind(')');
  if (at == std::string::npos) return std::nullopt;
  for (int passed = 2; passed < field; ++passed) {
    at = stat->find(' ', at + 1);
    if (at == std::string::npos) return std::nullopt;
  }
  uint64_t value = 0;
  const char* begin = stat->data() + at + 1;
  if (std::from_chars(begin, stat->data() + stat->size(), value).ec != std::errc()) return std::nullopt;
  return value;
}

std::optional<uint64_t> process_start_time(pid_t pid) {
  constexpr int kStartTime = 22;
  return process_stat_field(pid, kStartTime);
}

std::optional<std::string> find_program(std::string_view name) {
  const char* path = std::getenv("PATH");
  std::string folders = std::string(path != nullptr ? path : "") + ":/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";
  size_t begin = 0;
  while (begin <= folders.size()) {
    const size_t end = std::min(folders.find(':', begin), folders.size());
    if (end > begin) {
      std::string candidate = folders.substr(begin, end - begin) + "/" + std::string(name);
      if (::access(candidate.c_str(), X_OK) == 0) return candidate;
    }
    begin = end + 1;
  }
  return std::nullopt;
}

}  // namespace hearth
