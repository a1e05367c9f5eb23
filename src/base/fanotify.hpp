// The kernel's pre-content events (fanotify, Linux 6.14 and later): constants that Debian 12's headers lack, and the
// group that Hearth makes. An event waits in the kernel until it is answered by the number of its descriptor.
#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"

#include <sys/fanotify.h>

#include <cstdint>

namespace hearth::fanotify {

inline constexpr uint64_t kPreAccess = 0x0010'0000;  // FAN_PRE_ACCESS
inline constexpr uint8_t kInfoRange = 6;             // FAN_EVENT_INFO_TYPE_RANGE

/// The record behind an event's metadata that says which bytes a reader is about to see.
struct RangeInfo {
  fanotify_event_info_header header;
  uint32_t pad;
  uint64_t offset;
  uint64_t count;
};

/// Answer that makes the reader fail with this errno (FAN_DENY_ERRNO).
constexpr uint32_t deny_with(uint32_t errno_value) {
  return FAN_DENY | ((errno_value & 0xFF) << 24);
}

/// A group of the pre-content class: not blocking, unlimited queue and marks, descriptors of events open for reading
/// and writing, so that content can be written through them without raising events. unavailable (with the reason) when
/// the kernel or this process's rights do not allow it.
Result<UniqueFd> open_group();

/// Raises events for reads of this file from now on, but only for openings that follow. unavailable: the file system
/// does not take part (only ext4, xfs, btrfs and bcachefs do).
Result<> mark(int group, int file);
/// From now on the file raises none. No error when it had no mark.
Result<> unmark(int group, int file);

}  // namespace hearth::fanotify
