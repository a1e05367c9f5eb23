// A read of a file that is not all here: what the holder tells imagefs of it, and what imagefs answers.
#pragma once

#include "base/clock.hpp"

#include <sys/types.h>

#include <cstdint>
#include <string>

namespace hearth::holder {

/// A process that cannot be confused with a later one of the same pid.
struct Child {
  pid_t pid = -1;
  uint64_t start_time = 0;  // clock ticks since boot: field 22 of /proc/<pid>/stat
  bool operator==(const Child&) const = default;
};

/// Somebody waits until these pages of a tracked file are there.
struct Event {
  uint64_t sequence = 0;  // never used twice between two boots; 0: only told, was allowed already (Observe::yes)
  uint64_t token = 0;     // of the file, as given to `track`
  uint64_t offset = 0;    // bytes, whole pages; the last one ends with the file
  uint64_t length = 0;    // bytes, never 0
  pid_t pid = 0;          // the reading process
  bool operator==(const Event&) const = default;
};

struct EventAnswer {
  uint64_t sequence = 0;
  /// 0: let it read; the holder does so only when every page is marked present. Otherwise an errno for the reader:
  /// EIO, ENOSPC, EDQUOT, EAGAIN, EBUSY, EPERM or ETXTBSY; the kernel knows no others, they become EIO.
  uint32_t error = 0;
};

/// Whether reads that the holder allowed by itself are told of too, with sequence 0. They may be dropped when the
/// listener is slow.
enum class Observe : uint8_t { no = 0, yes = 1 };

/// A file whose reads are relayed, with the file that says which of its pages are present.
struct TrackedFile {
  std::string name;    // the holder keeps data_fd under it, as `put` does
  uint64_t token = 0;  // comes back in events; best one that the next imagefs computes too, as a part of a digest
  int data_fd = -1;
  int presence_fd = -1;       // after its header one bit a page, lowest bit of the first byte first
  uint32_t header_bytes = 0;  // of the presence file
  uint32_t page_bytes = 4096;
  Observe observe = Observe::no;
};

/// What the group that imagefs makes is called, here and wherever it is looked for.
inline constexpr const char* kImagesGroup = "imagefs/group";

/// Longer than imagefs tries to fetch: it should be the one to give up.
inline constexpr milliseconds kReadTimeout = seconds(90);

/// How events are relayed.
struct RelayOptions {
  std::string name = kImagesGroup;      // the holder keeps the group under it, as `put` does
  Child predecessor;                    // who read events of this group last; pid 0 or less: the group is new
  milliseconds timeout = kReadTimeout;  // what nobody answers that long is answered with EIO
};

}  // namespace hearth::holder
