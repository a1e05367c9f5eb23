#include "holder/event_group.hpp"

#include "base/fanotify.hpp"
#include "base/file.hpp"
#include "base/process.hpp"

#include <fcntl.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>
#include <limits>
#include <optional>

namespace hearth::holder {

namespace {

constexpr uint32_t kNumberedFlags = FAN_CLOEXEC | FAN_NONBLOCK | FAN_ALL_CLASS_BITS | FAN_UNLIMITED_QUEUE |
                                    FAN_UNLIMITED_MARKS | FAN_ENABLE_AUDIT;  // others change what events look like

constexpr uint64_t kGroupInfoBytesMax = uint64_t{64} << 20;  // some 150 bytes a mark

/// The hexadecimal number behind `label` in /proc/self/fdinfo/<fd>.
std::optional<uint32_t> flags_behind(std::string_view text, std::string_view label) {
  const size_t at = text.find(label);
  if (at == std::string_view::npos) return std::nullopt;
  uint32_t value = 0;
  const char* begin = text.data() + at + label.size();
  if (std::from_chars(begin, text.data() + text.size(), value, 16).ec != std::errc()) return std::nullopt;
  return value;
}

/// The kernel takes only these (FAN_DENY_ERRNO); anything else would be refused and the reader would wait for ever.
uint32_t errno_for_reader(uint32_t error) {
  for (const int known : {EPERM, EIO, EBUSY, ETXTBSY, EAGAIN, ENOSPC, EDQUOT}) {
    if (error == static_cast<uint32_t>(known)) return error;
  }
  return EIO;
}

/// False when no event has this number.
bool respond(int group, int number, uint32_t response) {
  const fanotify_response answer{number, response};
  while (::write(group, &answer, sizeof answer) < 0) {
    if (errno != EINTR) return false;
  }
  return true;
}

/// The range of an event, from the records behind its metadata; an event without one is about the whole file.
WaitingRead read_of(const fanotify_event_metadata& event, const char* bytes) {
  WaitingRead read;
  read.file.reset(event.fd);
  read.pid = event.pid;
  read.end = std::numeric_limits<uint64_t>::max();
  for (size_t at = event.metadata_len; at + sizeof(fanotify_event_info_header) <= event.event_len;) {
    fanotify_event_info_header header{};
    std::memcpy(&header, bytes + at, sizeof header);
    if (header.len < sizeof header || at + header.len > event.event_len) break;
    if (header.info_type == fanotify::kInfoRange && header.len >= sizeof(fanotify::RangeInfo)) {
      fanotify::RangeInfo range{};
      std::memcpy(&range, bytes + at, sizeof range);
      read.offset = range.offset;
      if (range.count != 0) read.end = std::max(range.offset, range.offset + range.count);  // never wraps in the kernel
    }
    at += header.len;
  }
  return read;
}

}  // namespace

Result<EventGroup> EventGroup::adopt(UniqueFd group) {
  TRY(const std::string info, read_file("/proc/self/fdinfo/" + std::to_string(group.get()), 1 << 20));
  const auto flags = flags_behind(info, "fanotify flags:");
  const auto event_flags = flags_behind(info, "event-flags:");
  if (!flags || !event_flags) return fail(ErrorCode::invalid_argument, "relay: the descriptor is no fanotify group");
  const bool right = (*flags & FAN_ALL_CLASS_BITS) == FAN_CLASS_PRE_CONTENT && (*flags & FAN_UNLIMITED_QUEUE) != 0 &&
                     (*flags & ~kNumberedFlags) == 0 && (*event_flags & O_ACCMODE) == O_RDWR &&
                     (*event_flags & O_CLOEXEC) != 0;
  if (!right) {
    return fail(ErrorCode::invalid_argument,
                "relay: the group must be of the pre-content class, with an unlimited queue and O_RDWR | O_CLOEXEC");
  }
  const int status = ::fcntl(group.get(), F_GETFL);
  if (status < 0 || ::fcntl(group.get(), F_SETFL, status | O_NONBLOCK) != 0) return fail_errno("relay: fcntl", errno);
  return EventGroup(std::move(group));
}

bool EventGroup::is(int other) const {
  const pid_t self = ::getpid();
  return ::syscall(SYS_kcmp, self, self, KCMP_FILE, group_.get(), other) == 0;
}

uint32_t EventGroup::deny_stale() const {
  uint32_t denied = 0;
  for (int number = 0; number < static_cast<int>(kDescriptorsMax); ++number) {
    // Several dead readers may have used one number.
    while (respond(group_.get(), number, fanotify::deny_with(EIO))) ++denied;
  }
  return denied;
}

Result<> EventGroup::take(size_t most, std::vector<WaitingRead>& into) const {
  constexpr size_t kEventBytes = sizeof(fanotify_event_metadata) + sizeof(fanotify::RangeInfo);
  alignas(fanotify_event_metadata) char buffer[kBatch * kEventBytes];
  ssize_t got = -1;
  do {
    got = ::read(group_.get(), buffer, std::min(most, kBatch) * kEventBytes);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return errno == EAGAIN ? Result<>() : fail_errno("take a waiting read", errno);
  for (size_t at = 0, size = static_cast<size_t>(got); at + sizeof(fanotify_event_metadata) <= size;) {
    fanotify_event_metadata event{};
    std::memcpy(&event, buffer + at, sizeof event);
    if (event.vers != FANOTIFY_METADATA_VERSION || event.event_len < sizeof event || event.event_len > size - at) {
      return fail(ErrorCode::corrupt, "the kernel's events are of another version");
    }
    if (event.fd >= 0) into.push_back(read_of(event, buffer + at));
    at += event.event_len;
  }
  return {};
}

size_t EventGroup::marks() const {
  const auto info = read_file("/proc/self/fdinfo/" + std::to_string(group_.get()), kGroupInfoBytesMax);
  if (!info) return SIZE_MAX;  // to be on the safe side
  size_t count = 0;
  constexpr std::string_view kMark = "fanotify ino:";
  for (size_t at = info->find(kMark); at != std::string::npos; at = info->find(kMark, at + kMark.size())) ++count;
  return count;
}

Result<> EventGroup::unmark(int file) const {
  return fanotify::unmark(group_.get(), file);
}

void EventGroup::answer(WaitingRead read, uint32_t error) const {
  const uint32_t response = error == 0 ? FAN_ALLOW : fanotify::deny_with(errno_for_reader(error));
  respond(group_.get(), read.file.get(), response);
}

bool is_used_by_others(int file) {
  // The break of a lease is told by a signal: one that is ignored, for SIGIO would end us.
  if (::fcntl(file, F_SETSIG, SIGURG) != 0 || ::fcntl(file, F_SETLEASE, F_WRLCK) != 0) return true;
  ::fcntl(file, F_SETLEASE, F_UNLCK);
  return false;
}

bool has_ended(const Child& process) {
  const UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, process.pid, 0)));
  if (!pidfd) return errno == ESRCH;
  // The pidfd is held: what the pid is now, it stays while we look.
  if (process_start_time(process.pid) != process.start_time) return true;
  pollfd ended{pidfd.get(), POLLIN, 0};
  return ::poll(&ended, 1, 0) > 0;
}

}  // namespace hearth::holder
