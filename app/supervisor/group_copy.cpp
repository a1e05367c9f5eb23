#include "supervisor/group_copy.hpp"

#include "base/log.hpp"

#include <string>

namespace hearth::supervisor {

namespace {

constexpr int kGroupFd = 3;  // in the holder

}  // namespace

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
  for (const std::string& arg : {std::string("--group-fd"), std::to_string(kGroupFd), std::string("--predecessor"),
                                 std::to_string(reader_.pid) + ":" + std::to_string(reader_.start_time)}) {
    holder.args.push_back(arg);
  }
}

}  // namespace hearth::supervisor
