#include "supervisor/group_copy.hpp"

#include "base/fanotify.hpp"
#include "base/log.hpp"

#include <string>

namespace hearth::supervisor {

namespace {

constexpr int kGroupFd = 3;  // in the holder

}  // namespace

void GroupCopy::make() {
  auto group = fanotify::open_group();
  if (!group) return log_info("no group for reads that wait", {{"reason", group.error().message}});
  group_ = std::move(*group);
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
