#include "container/cgroup.hpp"

#include "base/file.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <optional>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

namespace hearth::container {

namespace {

namespace fs = std::filesystem;

constexpr milliseconds kPoll{1};
constexpr seconds kRemoveFor{3};  // the kernel lets go of a killed process' memory in its own time

uint64_t to_number(std::string_view text) {
  uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

/// Value of a file that holds one number; nullopt when the file is not there.
std::optional<uint64_t> number_in(const fs::path& file) {
  auto text = read_file(file);
  if (!text) return std::nullopt;
  return to_number(*text);
}

/// Value after `key` in a file of "key value" lines.
std::optional<uint64_t> keyed_number(const fs::path& file, std::string_view key) {
  auto text = read_file(file);
  if (!text) return std::nullopt;
  std::string_view rest = *text;
  while (!rest.empty()) {
    const auto line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    if (line.starts_with(key) && line.size() > key.size() && line[key.size()] == ' ') {
      return to_number(line.substr(key.size() + 1));
    }
  }
  return std::nullopt;
}

Result<> write_control(const fs::path& file, std::string_view value) {
  TRY(auto fd, open_file(file, O_WRONLY));
  return write_all(fd.get(), value, file.string());
}

std::vector<pid_t> processes_in(const fs::path& directory) {
  std::vector<pid_t> pids;
  const auto text = read_file(directory / "cgroup.procs").value_or("");
  std::string_view rest = text;
  while (!rest.empty()) {
    const auto line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    if (const auto pid = static_cast<pid_t>(to_number(line)); pid > 0) pids.push_back(pid);
  }
  return pids;
}

/// Removes a cgroup directory and the ones below it. EBUSY while processes remain.
std::error_code remove_tree(const fs::path& directory) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    std::error_code ignored;
    if (entry.is_directory(ignored)) {
      if (auto failed = remove_tree(entry.path())) return failed;
    }
  }
  if (::rmdir(directory.c_str()) == 0 || errno == ENOENT) return {};
  return {errno, std::generic_category()};
}

}  // namespace

Result<CgroupVersion> detect_cgroup_version(const fs::path& root) {
  struct statfs information{};
  if (::statfs(root.c_str(), &information) != 0) return fail_errno("look at " + root.string(), errno);
  if (information.f_type == CGROUP2_SUPER_MAGIC) return CgroupVersion::v2;
  for (const char* controller : {"cpu", "memory", "pids", "freezer"}) {
    if (!fs::exists(root / controller / "cgroup.procs")) {
      return fail(ErrorCode::unavailable, "no cgroup controller \"" + std::string(controller) + "\" below " +
                                              root.string() +
                                              ": mount the v2 tree there, or the v1 controller in its folder");
    }
  }
  return CgroupVersion::v1;
}

Result<Cgroup> Cgroup::open(std::string path, const fs::path& root) {
  if (!path.starts_with('/') || path.contains("..") || path.size() < 2) {
    return fail(ErrorCode::invalid_argument, "bad cgroup path " + path);
  }
  TRY(const auto version, detect_cgroup_version(root));
  return Cgroup(std::move(path), root, version);
}

fs::path Cgroup::directory(std::string_view controller) const {
  return version_ == CgroupVersion::v2 ? root_ / path_.substr(1) : root_ / controller / path_.substr(1);
}

Result<bool> Cgroup::frozen() const {
  const auto where = directory("freezer");
  if (version_ == CgroupVersion::v2) {
    const auto value = keyed_number(where / "cgroup.events", "frozen");
    if (!value) return fail(ErrorCode::not_found, "no cgroup " + path_);
    return *value == 1;
  }
  TRY(auto state, read_file(where / "freezer.state"));
  return state.starts_with("FROZEN");
}

Result<> Cgroup::freeze(Deadline deadline) {
  const auto where = directory("freezer");
  const bool v2 = version_ == CgroupVersion::v2;
  TRY_VOID(write_control(where / (v2 ? "cgroup.freeze" : "freezer.state"), v2 ? "1" : "FROZEN"));
  for (;;) {
    auto now_frozen = frozen();
    if (now_frozen && *now_frozen) return {};
    if (!now_frozen || deadline.passed(mono_now())) {
      (void)thaw();
      if (!now_frozen) return Unexpected(std::move(now_frozen).error());
      return fail(ErrorCode::deadline_exceeded, "cgroup " + path_ + " did not freeze in time");
    }
    std::this_thread::sleep_for(kPoll);
    // v1 gives up when a process forks meanwhile: ask again.
    if (!v2) TRY_VOID(write_control(where / "freezer.state", "FROZEN"));
  }
}

Result<> Cgroup::thaw() {
  const bool v2 = version_ == CgroupVersion::v2;
  return write_control(directory("freezer") / (v2 ? "cgroup.freeze" : "freezer.state"), v2 ? "0" : "THAWED");
}

Result<CgroupUsage> Cgroup::usage() const {
  CgroupUsage usage;
  if (version_ == CgroupVersion::v2) {
    const auto where = directory("");
    const auto cpu = keyed_number(where / "cpu.stat", "usage_usec");
    if (!cpu) return fail(ErrorCode::not_found, "no cgroup " + path_);
    usage.cpu = microseconds(*cpu);
    usage.memory_bytes = number_in(where / "memory.current").value_or(0);
    usage.memory_peak_bytes = number_in(where / "memory.peak").value_or(0);
    return usage;
  }
  const auto cpu = number_in(directory("cpuacct") / "cpuacct.usage");
  if (!cpu) return fail(ErrorCode::not_found, "no cgroup " + path_);
  usage.cpu = microseconds(*cpu / 1000);
  usage.memory_bytes = number_in(directory("memory") / "memory.usage_in_bytes").value_or(0);
  usage.memory_peak_bytes = number_in(directory("memory") / "memory.max_usage_in_bytes").value_or(0);
  return usage;
}

size_t Cgroup::process_count() const {
  return processes_in(directory("freezer")).size();
}

Result<uint64_t> Cgroup::oom_kills() const {
  const auto where = directory("memory");
  if (version_ == CgroupVersion::v2) return keyed_number(where / "memory.events", "oom_kill").value_or(0);
  return keyed_number(where / "memory.oom_control", "oom_kill").value_or(0);
}

Result<> Cgroup::kill_all() {
  const auto where = directory("freezer");
  if (version_ == CgroupVersion::v2 && write_control(where / "cgroup.kill", "1")) {
    (void)thaw();  // a v2 freezer lets SIGKILL through; thawed all the same, so that the directory is as new
    return {};
  }
  for (const pid_t pid : processes_in(where)) ::kill(pid, SIGKILL);
  if (fs::exists(where)) (void)thaw();  // a v1 freezer does not let signals through
  return {};
}

Result<> Cgroup::remove() {
  const auto deadline = Deadline::after(mono_now(), kRemoveFor);
  std::vector<fs::path> directories;
  if (version_ == CgroupVersion::v2) {
    directories.push_back(directory(""));
  } else {
    std::error_code error;
    for (const auto& hierarchy : fs::directory_iterator(root_, error)) {
      if (!hierarchy.is_symlink() && hierarchy.is_directory())
        directories.push_back(hierarchy.path() / path_.substr(1));
    }
  }
  for (const auto& directory : directories) {
    for (;;) {
      const auto failed = fs::exists(directory) ? remove_tree(directory) : std::error_code{};
      if (!failed) break;
      if (failed.value() != EBUSY || deadline.passed(mono_now())) {
        return fail_errno("remove cgroup " + directory.string(), failed.value());
      }
      std::this_thread::sleep_for(kPoll);
    }
  }
  return {};
}

}  // namespace hearth::container
