#include "holder/event_relay.hpp"

#include "base/log.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>

namespace hearth::holder {

namespace {

constexpr size_t kToldMax = 4096;  // reads that were allowed and are only told of, in the queue
constexpr Duration kWarnEvery = seconds(1);

/// Sequences go on from one holder to the next, so that an answer to a dead one's event can never meet a new one: no
/// holder takes an event every nanosecond.
uint64_t first_sequence() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace

EventRelay::EventRelay() : last_sequence_(first_sequence()) {
  batch_.reserve(EventGroup::kBatch);
}

EventRelay::~EventRelay() {
  for (auto& [sequence, waiting] : waiting_) group_->answer(std::move(waiting.read), EIO);
}

Result<Relayed> EventRelay::begin(const Relay& relay, UniqueFd group) {
  if (relay.timeout_ms == 0) return fail(ErrorCode::invalid_argument, "relay: a timeout of 0 answers nothing");
  if (group_) {
    if (!group_->is(group.get())) return fail(ErrorCode::already_exists, "relay: the holder relays another group");
    timeout_ = milliseconds(relay.timeout_ms);
    return Relayed{};
  }
  TRY(auto adopted, EventGroup::adopt(std::move(group)));
  Relayed relayed;
  if (relay.predecessor.pid > 0) {
    if (!has_ended(relay.predecessor)) {
      return fail(ErrorCode::unavailable, "relay: process " + std::to_string(relay.predecessor.pid) +
                                              ", which read the group before, still runs");
    }
    relayed.denied = adopted.deny_stale();
  }
  log_info("relaying reads", {{"predecessor", std::max(relay.predecessor.pid, 0)}, {"stale", relayed.denied}});
  counts_.stale += relayed.denied;
  timeout_ = milliseconds(relay.timeout_ms);
  group_ = std::move(adopted);
  return relayed;
}

Result<> EventRelay::track(const Track& track, int data_file, UniqueFd presence) {
  struct stat info{};
  if (::fstat(data_file, &info) != 0) return fail_errno("track: look at the data file", errno);
  if (!S_ISREG(info.st_mode)) return fail(ErrorCode::invalid_argument, "track: the data file is no regular file");
  TRY(auto opened, PresenceFile::open(std::move(presence), {.header_bytes = track.header_bytes,
                                                            .page_bytes = track.page_bytes,
                                                            .data_bytes = static_cast<uint64_t>(info.st_size)}));
  const FileKey key{info.st_dev, info.st_ino};
  const auto before = files_.find(key);
  if (before != files_.end() && before->second.name != track.name) {
    return fail(ErrorCode::already_exists, "track: the file is tracked as " + before->second.name);
  }
  if (before == files_.end()) untrack(track.name);  // the name stood for another file
  if (before != files_.end() && before->second.token != track.token) forget_told(key);  // in words not known any more
  files_.insert_or_assign(key, File{track.name, track.token, std::move(opened), track.observe});
  names_.insert_or_assign(track.name, key);
  look_again(key);
  return {};
}

void EventRelay::untrack(std::string_view name) {
  const auto named = names_.find(name);
  if (named == names_.end()) return;
  look_again(named->second);
  forget_told(named->second);
  files_.erase(named->second);
  names_.erase(named);
}

void EventRelay::forget_told(const FileKey& key) {
  for (auto& [sequence, waiting] : waiting_) {
    if (waiting.file == key) waiting.queued = false;
  }
  const uint64_t token = files_.at(key).token;
  std::erase_if(untold_, [token](const Event& event) { return event.token == token; });
}

void EventRelay::look_again(const FileKey& key) {
  const File& file = files_.at(key);
  for (auto at = waiting_.begin(); at != waiting_.end();) {
    const auto waiting = at++;
    if (waiting->second.file != key) continue;
    struct stat now{};
    if (::fstat(waiting->second.read.file.get(), &now) == 0 && may_read(waiting->second.read, now, file)) {
      ++counts_.allowed;
      group_->answer(std::move(waiting->second.read), 0);
      waiting_.erase(waiting);
    } else if (!waiting->second.queued) {
      queue(*waiting, file);
    }
  }
}

void EventRelay::take(size_t most, MonoTime now) {
  if (!group_) return;
  batch_.clear();
  if (auto taken = group_->take(most, batch_); !taken) {
    ++counts_.failed;
    warn(taken.error().message, now);
  }
  for (WaitingRead& read : batch_) on_read(std::move(read), now);
}

void EventRelay::on_read(WaitingRead read, MonoTime now) {
  ++counts_.events;
  struct stat info{};
  if (::fstat(read.file.get(), &info) != 0) return group_->answer(std::move(read), EIO);
  const FileKey key{info.st_dev, info.st_ino};
  const auto file = files_.find(key);
  if (file != files_.end() && may_read(read, info, file->second)) {
    ++counts_.allowed;
    const bool tell = file->second.observe == Observe::yes && listening_ && untold_.size() < kToldMax;
    if (tell && read.offset < file->second.presence.data_bytes()) untold_.push_back(event_of(0, read, file->second));
    return group_->answer(std::move(read), 0);
  }
  if (refusing_) {
    ++counts_.denied;
    return group_->answer(std::move(read), EIO);
  }
  const auto added = waiting_.emplace(++last_sequence_, Waiting{std::move(read), key, now}).first;
  if (file != files_.end()) queue(*added, file->second);
}

/// A file that has become shorter is damaged: what is missing at its end would be read as zeros.
bool EventRelay::may_read(const WaitingRead& read, const struct stat& now, const File& file) const {
  return static_cast<uint64_t>(now.st_size) >= file.presence.data_bytes() &&
         file.presence.all_present(read.offset, read.end);
}

Event EventRelay::event_of(uint64_t sequence, const WaitingRead& read, const File& file) const {
  // A damaged file may be read beyond what was tracked: its last page then stands for that.
  const uint64_t size = file.presence.data_bytes();
  const uint64_t begin = file.presence.page_begin(std::min(read.offset, size == 0 ? 0 : size - 1));
  const uint64_t end = std::max(file.presence.page_end(read.end), begin + 1);
  return {.sequence = sequence, .token = file.token, .offset = begin, .length = end - begin, .pid = read.pid};
}

void EventRelay::queue(WaitingMap::value_type& waiting, const File& file) {
  if (!listening_) return;
  waiting.second.queued = true;
  untold_.push_back(event_of(waiting.first, waiting.second.read, file));
}

void EventRelay::answer(std::span<const EventAnswer> answers) {
  for (const EventAnswer& answer : answers) {
    const auto waiting = waiting_.find(answer.sequence);
    if (waiting == waiting_.end()) continue;
    uint32_t error = answer.error;
    if (error == 0) {
      // Nobody is let through to a hole, whoever says so.
      const auto file = files_.find(waiting->second.file);
      struct stat now{};
      const bool there = file != files_.end() && ::fstat(waiting->second.read.file.get(), &now) == 0 &&
                         may_read(waiting->second.read, now, file->second);
      if (!there) error = EIO;
      ++(there ? counts_.answered : counts_.refused);
    } else {
      ++counts_.denied;
    }
    group_->answer(std::move(waiting->second.read), error);
    waiting_.erase(waiting);
  }
}

void EventRelay::expire(MonoTime now) {
  const uint64_t before = counts_.timed_out;
  while (!waiting_.empty() && now - waiting_.begin()->second.since >= timeout_) {
    group_->answer(std::move(waiting_.begin()->second.read), EIO);
    waiting_.erase(waiting_.begin());
    ++counts_.timed_out;
  }
  if (counts_.timed_out != before) warn("reads failed since nobody answered in time", now);
}

std::optional<MonoTime> EventRelay::expires_at() const {
  if (waiting_.empty()) return std::nullopt;
  return waiting_.begin()->second.since + timeout_;
}

void EventRelay::refuse() {
  refusing_ = true;
  for (auto& [sequence, waiting] : waiting_) group_->answer(std::move(waiting.read), EIO);
  counts_.denied += waiting_.size();
  waiting_.clear();
  untold_.clear();
}

std::vector<std::string> EventRelay::names() const {
  std::vector<std::string> names;
  names.reserve(names_.size());
  for (const auto& [name, key] : names_) names.push_back(name);
  return names;
}

void EventRelay::release(std::string_view name, int data_file) {
  if (auto unmarked = group_->unmark(data_file); !unmarked) {
    warn(unmarked.error().message, mono_now());
    return;
  }
  untrack(name);
}

void EventRelay::on_listener() {
  on_no_listener();
  refusing_ = false;
  listening_ = true;
  for (auto& waiting : waiting_) {
    const auto file = files_.find(waiting.second.file);
    if (file != files_.end()) queue(waiting, file->second);
  }
}

void EventRelay::on_no_listener() {
  listening_ = false;
  untold_.clear();
  for (auto& [sequence, waiting] : waiting_) waiting.queued = false;
}

std::vector<Event> EventRelay::take_untold(size_t most) {
  std::vector<Event> events;
  while (!untold_.empty() && events.size() < most) {
    const Event& event = untold_.front();
    if (event.sequence == 0 || waiting_.contains(event.sequence)) events.push_back(event);
    untold_.pop_front();
  }
  return events;
}

void EventRelay::put_back(const std::vector<Event>& events) {
  untold_.insert(untold_.begin(), events.begin(), events.end());
}

Result<UniqueFd> EventRelay::event_fd(uint64_t sequence) const {
  const auto waiting = waiting_.find(sequence);
  if (waiting == waiting_.end()) return fail(ErrorCode::not_found, "event fd: the event is answered");
  UniqueFd copy(::fcntl(waiting->second.read.file.get(), F_DUPFD_CLOEXEC, 0));
  if (!copy) return fail_errno("event fd: duplicate a descriptor", errno);
  return copy;
}

Counted EventRelay::counts() const {
  return {{{"events", counts_.events},
           {"allowed", counts_.allowed},
           {"answered", counts_.answered},
           {"denied", counts_.denied},
           {"refused", counts_.refused},
           {"timed_out", counts_.timed_out},
           {"stale", counts_.stale},
           {"failed", counts_.failed},
           {"waiting", waiting_.size()},
           {"tracked", files_.size()}}};
}

/// At most one line a second, however many readers there are.
void EventRelay::warn(std::string_view what, MonoTime now) {
  if (now < silent_until_) return;
  silent_until_ = now + kWarnEvery;
  log_warning(what, {{"waiting", waiting_.size()}, {"timed_out", counts_.timed_out}, {"failed", counts_.failed}});
}

}  // namespace hearth::holder
