// A fanotify group as its one reader sees it: reads that wait come in, answers go out (base/fanotify.hpp opens one).
#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "holder/event.hpp"

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace hearth::holder {

/// Descriptors of holders are numbered below this, in every release: the kernel knows an event by the number of its
/// descriptor in the process that took it, so whoever comes after a dead holder tries each number.
inline constexpr uint64_t kDescriptorsMax = 64 * 1024;

/// A read that waits in the kernel until it is answered. It waits for ever when this is destroyed unanswered.
struct WaitingRead {
  UniqueFd file;        // reads and writes it without raising events
  uint64_t offset = 0;  // bytes, as asked for: need not be aligned
  uint64_t end = 0;     // may lie beyond the end of the file
  pid_t pid = 0;
};

class EventGroup {
 public:
  static constexpr size_t kBatch = 64;

  /// invalid_argument when it is not a group of the pre-content class with an unlimited queue (one that overflows lets
  /// readers through) and descriptors for reading and writing.
  static Result<EventGroup> adopt(UniqueFd group);

  int fd() const { return group_.get(); }
  /// Whether this descriptor is of the same group.
  bool is(int other) const;

  /// Answers with EIO whatever an earlier reader of the group took and left; returns how many there were. To be called
  /// before the first take(), and only when that reader is dead: its numbers would be mistaken for ours.
  uint32_t deny_stale() const;

  /// Appends up to `most` (at most kBatch) waiting reads; never blocks. Fewer than that: there are no more. An error
  /// means that the kernel could not hand out one and has failed that reader.
  Result<> take(size_t most, std::vector<WaitingRead>& into) const;

  /// Files whose reads raise events of this group.
  size_t marks() const;
  /// From now on reads of this file raise none.
  Result<> unmark(int file) const;

  /// Lets the reader go on, or fail with an errno (see EventAnswer), and closes the descriptor.
  void answer(WaitingRead read, uint32_t error) const;

 private:
  explicit EventGroup(UniqueFd group) : group_(std::move(group)) {}
  UniqueFd group_;
};

/// Whether anything but this descriptor has its file open: another process, or a file system that is mounted from it.
/// True when that cannot be told.
bool is_used_by_others(int file);

/// Whether a process is known to have ended: another one may have its pid now.
bool has_ended(const Child& process);

}  // namespace hearth::holder
