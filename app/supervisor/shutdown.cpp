#include "supervisor/shutdown.hpp"

#include "base/file.hpp"
#include "base/log.hpp"
#include "container/container.hpp"

#include <sys/mount.h>

#include <algorithm>
#include <csignal>
#include <sstream>

namespace hearth::supervisor {

namespace {

/// Mount points at or below a folder, innermost last.
std::vector<std::string> mounts_below(const std::filesystem::path& folder) {
  std::vector<std::string> found;
  std::istringstream lines(read_file("/proc/self/mountinfo").value_or(""));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string skipped;
    std::string at;
    fields >> skipped >> skipped >> skipped >> skipped >> at;
    if (at.starts_with(folder.string() + "/")) found.push_back(at);
  }
  return found;
}

Result<> destroy_containers(const Layout& layout) {
  std::error_code error;
  if (!std::filesystem::exists(layout.run / "replicas", error)) return {};
  TRY(auto runtime, container::ContainerRuntime::open({.run_dir = layout.run, .cgroup_parent = layout.cgroup_parent()},
                                                      std::make_shared<container::DirectSpawner>()));
  TRY(const auto ids, runtime.list());
  for (const std::string& id : ids) {
    if (auto gone = runtime.destroy(id); !gone)
      log_warning("container stays", {{"id", id}, {"error", gone.error().message}});
  }
  return {};
}

/// The folders of our cgroups, in the v2 tree and in every v1 hierarchy.
void remove_cgroups(const Layout& layout) {
  std::error_code error;
  const std::string parent = layout.cgroup_parent();
  std::vector<std::filesystem::path> roots = {"/sys/fs/cgroup"};
  for (const auto& entry : std::filesystem::directory_iterator("/sys/fs/cgroup", error)) {
    if (entry.is_directory(error) && !entry.is_symlink(error)) roots.push_back(entry.path());
  }
  for (const std::filesystem::path& root : roots) {
    std::filesystem::remove(root.string() + parent, error);
    std::filesystem::remove(std::filesystem::path(root.string() + parent).parent_path(), error);  // only when empty
  }
}

}  // namespace

void stop_processes(std::vector<Stopping> processes, const std::function<void(const std::string&)>& on_stopped) {
  std::ranges::reverse(processes);
  for (const Stopping& stopping : processes) {
    stopping.process.signal(SIGTERM);
    if (!stopping.process.wait(Deadline::after(mono_now(), stopping.time))) {
      log_warning("does not stop, killing it", {{"role", stopping.role}, {"pid", stopping.process.pid()}});
      stopping.process.signal(SIGKILL);
      (void)stopping.process.wait(Deadline::after(mono_now(), seconds(5)));
    }
    on_stopped(stopping.role);
  }
}

Result<> remove_leftovers(const Layout& layout) {
  auto destroyed = destroy_containers(layout);
  std::vector<std::string> mounts = mounts_below(layout.run);
  for (auto at = mounts.rbegin(); at != mounts.rend(); ++at) ::umount2(at->c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
  remove_cgroups(layout);
  if (!destroyed) return destroyed;
  // Never through a mount that could not be taken away.
  if (!mounts_below(layout.run).empty()) return fail(ErrorCode::internal, "mounts stay below " + layout.run.string());
  std::error_code error;
  std::filesystem::remove_all(layout.run, error);
  std::filesystem::remove(layout.data / "run", error);
  return {};
}

std::vector<Stopping> still_running(const RunState& state) {
  std::vector<Stopping> running;
  for (const ProcessState& recorded : state.processes) {
    auto process = WatchedProcess::find(recorded.pid, recorded.start_time);
    if (process) running.push_back({recorded.role, std::move(*process), seconds(30)});
  }
  return running;
}

}  // namespace hearth::supervisor
