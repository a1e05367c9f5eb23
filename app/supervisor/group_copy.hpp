// The supervisor's copy of the group in which reads of images wait. As long as one is open nobody reads a hole as
// zeros, and the next holder is started with it, so that it never answers before it has it.
#pragma once

#include "base/unique_fd.hpp"
#include "holder/client.hpp"
#include "supervisor/launch.hpp"
#include "supervisor/run_state.hpp"

#include <filesystem>

namespace hearth::supervisor {

/// The group that a dead holder relayed, from another process of ours that has a copy (imagefs, node). Empty when the
/// holder lives, or when no file is marked in it.
struct LostGroup {
  UniqueFd group;
  holder::Child reader;  // that holder
  explicit operator bool() const { return static_cast<bool>(group); }
};
LostGroup find_lost_group(const RunState& earlier);

class GroupCopy {
 public:
  explicit GroupCopy(const std::filesystem::path& holder_socket) : client_(holder_socket) {}

  /// Makes the group: for a supervisor that finds neither a holder nor an imagefs running. From then on there is no
  /// moment in which the last copy could die with imagefs and holder, not even before the first image is mounted.
  /// Without effect where the kernel or our rights do not allow it: then nothing is mounted so.
  void make();

  /// Takes a copy from the holder when it relays a group and we have none; also for a supervisor that was started anew.
  /// Cheap: to be called whenever there may be one.
  void refresh();

  /// Before the first holder is started: takes the group from whoever still has it, when the holder was killed together
  /// with those who usually bring it back.
  void rescue(const RunState& earlier);

  /// What a holder is started with: the group, and who read it before.
  void add_to(LaunchOptions& holder) const;

  /// -1 while there is none.
  int fd() const { return group_.get(); }

 private:
  holder::Client client_;
  UniqueFd group_;
  holder::Child reader_;  // the holder we had it from, or gave it to; pid 0: nobody yet
};

}  // namespace hearth::supervisor
