// For tests: replicas as plain processes of this machine, without any isolation. The runner, its sockets and its deaths
// are real; layers, namespaces and cgroups are not there. Freezing is SIGSTOP.
#pragma once

#include "base/file.hpp"
#include "node/launcher.hpp"
#include "node/replica_record.hpp"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <csignal>
#include <map>
#include <mutex>
#include <utility>

namespace hearth::node {

class SimulatedContainerLauncher final : public ReplicaLauncher {
 public:
  struct Folders {
    std::filesystem::path run_dir;
    std::filesystem::path runner;
    std::filesystem::path code;  // code/<model>/ holds that model's files
  };

  explicit SimulatedContainerLauncher(Folders folders) : folders_(std::move(folders)) {}
  ~SimulatedContainerLauncher() override {
    for (const auto& [id, process] : processes_) kill_and_reap(id, process.pid);
  }

  int launches() const { return launches_; }
  /// The next launches fail with this message until it is emptied again.
  void fail_with(std::string message) {
    const std::lock_guard lock(mutex_);
    failure_ = std::move(message);
  }

  Result<Launched> launch(LaunchRequest request) override {
    ++launches_;
    {
      const std::lock_guard lock(mutex_);
      if (!failure_.empty()) return fail(ErrorCode::unavailable, failure_);
    }
    request.on_reached(policy::ReplicaState::starting);
    const pid_t pid = spawn(request);
    if (pid < 0) return fail_errno("fork", errno);
    Launched launched;
    launched.process = {.pid = pid, .start_time = process_start_time(pid)};
    launched.phases_ms["container"] = 0;
    const std::lock_guard lock(mutex_);
    processes_[request.id] = launched.process;
    return launched;
  }

  Result<> destroy(const std::string& id) override {
    ReplicaProcess process;
    {
      const std::lock_guard lock(mutex_);
      if (const auto found = processes_.find(id); found != processes_.end()) process = found->second;
      processes_.erase(id);
    }
    if (process.pid > 0) kill_and_reap(id, process.pid);
    std::error_code error;
    std::filesystem::remove_all(folders_.run_dir / "replicas" / id, error);
    return {};
  }

  Result<> freeze(const ReplicaProcess& process) override {
    signal_all(id_of(process), SIGSTOP);
    return {};
  }
  Result<> thaw(const ReplicaProcess& process) override {
    signal_all(id_of(process), SIGCONT);
    return {};
  }
  uint64_t oom_kills(const ReplicaProcess&) override { return oom_kills_; }
  /// As if the kernel had killed something for lack of memory.
  void count_oom_kill() { ++oom_kills_; }

  std::optional<ProcessEnd> how_it_ended(const std::string& id, const ReplicaProcess& process) override {
    int status = 0;
    if (::waitpid(process.pid, &status, 0) != process.pid) return std::nullopt;
    ProcessEnd end;
    if (WIFSIGNALED(status)) {
      end.signal = WTERMSIG(status);
    } else {
      end.code = WEXITSTATUS(status);
    }
    end.last_words = last_line_of(folders_.run_dir / "replicas" / id / "output.log");
    return end;
  }

  /// As the kernel does when a container's first process dies.
  void die(const std::string& id) { signal_all(id, SIGKILL); }

  bool is_running(const ReplicaProcess& process) override {
    if (process_start_time(process.pid) != process.start_time) return false;
    const Result<std::string> stat = read_file("/proc/" + std::to_string(process.pid) + "/stat");
    return stat && stat->substr(stat->rfind(')') + 2, 1) != "Z";
  }

  Result<std::vector<std::string>> list() override {
    std::vector<std::string> ids;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(folders_.run_dir / "replicas", error)) {
      ids.push_back(entry.path().filename());
    }
    return ids;
  }

 private:
  static constexpr const char* kMark = "HEARTH_SIMULATED=";

  /// What a cgroup would do: everything that was started in it, whatever group or session it has made for itself.
  static void signal_all(const std::string& id, int number) {
    const std::string mark = kMark + id;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
      const std::string name = entry.path().filename();
      int pid = 0;
      std::from_chars(name.data(), name.data() + name.size(), pid);
      if (pid <= 0) continue;
      const Result<std::string> environment = read_file(entry.path() / "environ");
      if (environment && environment->contains(mark)) ::kill(pid, number);
    }
  }
  static void kill_and_reap(const std::string& id, pid_t pid) {
    ::kill(pid, SIGKILL);
    signal_all(id, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
  std::string id_of(const ReplicaProcess& process) const {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, known] : processes_) {
      if (known == process) return id;
    }
    return "none";
  }

  pid_t spawn(const LaunchRequest& request) const {
    // Everything is made before the fork: other threads may hold locks.
    std::vector<std::string> environment = {
        kMark + request.id, "PATH=/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE=1",
        "HEARTH_RUNNER=" + runner_settings(request, (folders_.code / request.version.branch.model).string())};
    std::vector<std::string> args = {"/usr/bin/python3", (folders_.runner / "main.py").string()};
    std::vector<char*> argv;
    std::vector<char*> envp;
    for (std::string& arg : args) argv.push_back(arg.data());
    for (std::string& variable : environment) envp.push_back(variable.data());
    argv.push_back(nullptr);
    envp.push_back(nullptr);
    constexpr int kOutOfTheWay = 200;
    std::vector<UniqueFd> high;
    for (const int fd : request.listen_fds) high.emplace_back(::fcntl(fd, F_DUPFD_CLOEXEC, kOutOfTheWay));
    const UniqueFd log(
        ::open((request.directory / "output.log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    const pid_t pid = ::fork();
    if (pid != 0) return pid;
    ::setsid();
    ::dup2(log.get(), 1);
    ::dup2(log.get(), 2);
    for (size_t i = 0; i < high.size(); ++i) ::dup2(high[i].get(), static_cast<int>(3 + i));
    ::execve(argv[0], argv.data(), envp.data());
    ::_exit(127);
  }

  const Folders folders_;
  std::atomic<int> launches_ = 0;
  std::atomic<uint64_t> oom_kills_ = 0;
  mutable std::mutex mutex_;
  std::string failure_;
  std::map<std::string, ReplicaProcess> processes_;
};

}  // namespace hearth::node
