#include "supervisor/group_copy.hpp"

#include "base/fanotify.hpp"
#include "base/file.hpp"
#include "base/log.hpp"
#include "supervisor/watched_process.hpp"

#include <algorithm>
#include <string>
#include <utility>

namespace hearth::supervisor {

namespace {

constexpr int kGroupFd = 3;  // in the holder
constexpr const char* kGroupLink = "anon_inode:[fanotify]";
constexpr uint64_t kGroupInfoBytesMax = uint64_t{64} << 20;

/// The first descriptor of the process that is an event group with marks.
UniqueFd group_of(const WatchedProcess& process) {
  std::error_code error;
  const std::filesystem::path folder = "/proc/" + std::to_string(process.pid());
  for (const auto& entry : std::filesystem::directory_iterator(folder / "fd", error)) {
    if (std::filesystem::read_symlink(entry.path(), error) != kGroupLink) continue;
    const auto info = read_file(folder / "fdinfo" / entry.path().filename(), kGroupInfoBytesMax);
    if (!info || !info->contains("fanotify ino:")) continue;
    if (auto group = process.descriptor(std::stoi(entry.path().filename()))) return group;
  }
  return {};
}

}  // namespace

void GroupCopy::make() {
  auto group = fanotify::open_group();
  if (!group) return log_info("no group for reads that wait", {{"reason", group.error().message}});
  group_ = std::move(*group);
}

LostGroup find_lost_group(const RunState& earlier) {
  const auto holder = std::ranges::find(earlier.processes, "holder", &ProcessState::role);
  if (holder == earlier.processes.end() || WatchedProcess::find(holder->pid, holder->start_time)) return {};
  for (const ProcessState& other : earlier.processes) {
    const auto process = WatchedProcess::find(other.pid, other.start_time);
    if (!process) continue;
    if (auto group = group_of(*process)) return {std::move(group), {holder->pid, holder->start_time}};
  }
  return {};
}

void GroupCopy::rescue(const RunState& earlier) {
  auto lost = find_lost_group(earlier);
  if (!lost) return;
  log_warning("going on with the group of a holder that was killed", {{"holder", lost.reader.pid}});
  group_ = std::move(lost.group);
  reader_ = lost.reader;
}

void GroupCopy::refresh() {
  auto now = client_.process();
  if (!now) return;
  if (!group_) {
    auto group = client_.get(holder::kImagesGroup);
    if (!group) return;  // no image is mounted by the kernel here
    log_info("keeping a copy of the group in which reads wait", {{"holder", now->pid}});
    group_ = std::move(*group);
  }
  reader_ = *now;  // started with it, or it would not have been ours
}

void GroupCopy::add_to(LaunchOptions& holder) const {
  if (!group_) return;
  holder.fds.emplace_back(group_.get(), kGroupFd);
  for (const std::string& arg : {std::string("--group-fd"), std::to_string(kGroupFd)}) holder.args.push_back(arg);
  if (reader_.pid <= 0) return;
  holder.args.emplace_back("--predecessor");
  holder.args.push_back(std::to_string(reader_.pid) + ":" + std::to_string(reader_.start_time));
}

}  // namespace hearth::supervisor
