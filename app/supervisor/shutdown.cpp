#include "supervisor/shutdown.hpp"

#include "base/file.hpp"
#include "base/log.hpp"
#include "container/container.hpp"
#include "holder/client.hpp"

#include <sys/mount.h>

#include <algorithm>
#include <csignal>
#include <sstream>
#include <utility>

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

constexpr Duration kStepTime = milliseconds(100);
constexpr Duration kReleaseTime = seconds(2);  // in which the last mounts go

/// Whether the holder says that it has to stay.
bool is_needed(const Layout& layout) {
  const auto counts = holder::Client(layout.socket("holder")).counts();
  if (!counts) return false;
  const auto in_use = counts->find("in_use");
  return in_use != counts->end() && in_use->second > 0;
}

/// One that does not end in time is killed.
void end(const Stopping& stopping) {
  stopping.process.signal(SIGTERM);
  if (stopping.process.wait(Deadline::after(mono_now(), stopping.time))) return;
  log_warning("does not stop, killing it", {{"role", stopping.role}, {"pid", stopping.process.pid()}});
  stopping.process.signal(SIGKILL);
  (void)stopping.process.wait(Deadline::after(mono_now(), seconds(5)));
}

Holder end_holder(const Layout& layout, const Stopping& holder) {
  holder.process.signal(SIGTERM);
  const MonoTime began = mono_now();
  while (!holder.process.wait(Deadline::after(mono_now(), kStepTime))) {
    const Duration waited = mono_now() - began;
    if (waited >= kReleaseTime && is_needed(layout)) return Holder::stays;
    if (waited < holder.time) continue;
    end(holder);
    break;
  }
  return Holder::gone;
}

/// Containers and mounts: while they are there, files of images are in use.
Result<> remove_mounts(const Layout& layout) {
  auto destroyed = destroy_containers(layout);
  std::vector<std::string> mounts = mounts_below(layout.run);
  for (auto at = mounts.rbegin(); at != mounts.rend(); ++at) ::umount2(at->c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
  remove_cgroups(layout);
  return destroyed;
}

Result<> remove_run_folder(const Layout& layout) {
  // Never through a mount that could not be taken away.
  if (!mounts_below(layout.run).empty()) return fail(ErrorCode::internal, "mounts stay below " + layout.run.string());
  std::error_code error;
  std::filesystem::remove_all(layout.run, error);
  std::filesystem::remove(layout.data / "run", error);
  return {};
}

}  // namespace

Result<Holder> stop_all(const Layout& layout, RunState state, std::vector<Stopping> processes,
                        const std::function<void(const std::string&)>& on_stopped) {
  std::ranges::reverse(processes);
  Result<> removed;
  bool removed_mounts = false;
  const auto remove_once = [&] {
    if (!std::exchange(removed_mounts, true)) removed = remove_mounts(layout);
  };
  auto holder = Holder::gone;
  for (const Stopping& stopping : processes) {
    if (stopping.role == "holder") {
      remove_once();
      holder = end_holder(layout, stopping);
      if (holder == Holder::stays) continue;
    } else {
      end(stopping);
    }
    on_stopped(stopping.role);
  }
  remove_once();
  if (!removed) return Unexpected(removed.error());
  if (holder == Holder::gone) {
    TRY_VOID(remove_run_folder(layout));
    return holder;
  }
  log_warning("the holder stays: images are mounted that are not all here");
  state.ready = false;
  std::erase_if(state.processes, [](const ProcessState& process) { return process.role != "holder"; });
  TRY_VOID(write_run_state(layout.state(), state));
  return holder;
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
