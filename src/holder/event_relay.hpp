// Reads that wait for imagefs: the holder takes them from the kernel, lets go at once those whose pages are all there,
// keeps the others until they are answered, whoever comes and goes meanwhile. One thread; never blocks.
#pragma once

#include "base/clock.hpp"
#include "holder/event_group.hpp"
#include "holder/message.hpp"
#include "holder/presence_file.hpp"

#include <sys/stat.h>

#include <deque>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace hearth::holder {

class EventRelay {
 public:
  EventRelay();
  /// Denies what nobody has answered.
  ~EventRelay();
  EventRelay(const EventRelay&) = delete;
  EventRelay& operator=(const EventRelay&) = delete;

  /// See Client::relay.
  Result<Relayed> begin(const Relay& relay, UniqueFd group);
  /// -1 before begin().
  int group_fd() const { return group_ ? group_->fd() : -1; }

  /// See Client::track. The data file is looked at, not kept: it must stay open while it is tracked, or its inode
  /// number could pass to another file.
  Result<> track(const Track& track, int data_file, UniqueFd presence);
  void untrack(std::string_view name);

  /// Takes a batch of waiting reads, at most `most`.
  void take(size_t most, MonoTime now);
  void answer(std::span<const EventAnswer> answers);
  /// Denies what has waited too long.
  void expire(MonoTime now);
  /// When expire() is to be called next.
  std::optional<MonoTime> expires_at() const;

  /// Nobody will fill anything until a listener comes: reads of what is missing fail with EIO, those that wait too.
  void refuse();
  /// Files that are marked, whether they are tracked or not.
  size_t marks() const { return group_ ? group_->marks() : 0; }
  /// Names of tracked files.
  std::vector<std::string> names() const;
  bool is_tracked(std::string_view name) const { return names_.contains(name); }
  /// Reads of the file raise no events any more, and it is not tracked: nobody can read it.
  void release(std::string_view name, int data_file);

  /// A listener has come: everything unanswered is for it. Or has gone.
  void on_listener();
  void on_no_listener();
  /// What the listener has not been told, oldest first.
  std::vector<Event> take_untold(size_t most);
  /// These could not be sent after all.
  void put_back(const std::vector<Event>& events);

  /// not_found when it is answered. The descriptor is a duplicate.
  Result<UniqueFd> event_fd(uint64_t sequence) const;

  size_t tracked() const { return files_.size(); }
  size_t waiting() const { return waiting_.size(); }
  size_t descriptors() const { return (group_ ? 1 : 0) + files_.size() + waiting_.size(); }
  Counted counts() const;

 private:
  struct FileKey {
    dev_t device = 0;
    ino_t inode = 0;
    bool operator==(const FileKey&) const = default;
  };
  struct HashOfKey {
    size_t operator()(const FileKey& key) const { return key.inode * 0x9E37'79B9'7F4A'7C15 ^ key.device; }
  };
  struct File {
    std::string name;
    uint64_t token;
    PresenceFile presence;
    Observe observe;
  };
  struct Waiting {
    WaitingRead read;
    FileKey file;
    MonoTime since;
    bool queued = false;  // told the listener, or about to be
  };
  using WaitingMap = std::map<uint64_t, Waiting>;

  void on_read(WaitingRead read, MonoTime now);
  bool may_read(const WaitingRead& read, const struct stat& now, const File& file) const;
  Event event_of(uint64_t sequence, const WaitingRead& read, const File& file) const;
  void queue(WaitingMap::value_type& waiting, const File& file);
  /// What waits for this file: let go if it can be now, told to the listener if it has not been.
  void look_again(const FileKey& key);
  /// What waits for this file is to be told again.
  void forget_told(const FileKey& key);
  void warn(std::string_view what, MonoTime now);

  std::optional<EventGroup> group_;
  Duration timeout_{};
  std::unordered_map<FileKey, File, HashOfKey> files_;
  std::map<std::string, FileKey, std::less<>> names_;
  WaitingMap waiting_;        // by sequence, and so by age
  std::deque<Event> untold_;  // some may have been answered since
  std::vector<WaitingRead> batch_;
  uint64_t last_sequence_;
  bool listening_ = false;
  bool refusing_ = false;
  MonoTime silent_until_{};

  struct {
    uint64_t events = 0;     // taken from the kernel
    uint64_t allowed = 0;    // by the holder alone
    uint64_t answered = 0;   // by the listener, with "let it read"
    uint64_t denied = 0;     // by the listener, with an errno
    uint64_t refused = 0;    // the listener said "let it read", but pages are missing
    uint64_t timed_out = 0;  // nobody answered
    uint64_t stale = 0;      // left by a dead predecessor
    uint64_t failed = 0;     // the kernel could not hand them out
  } counts_;
};

}  // namespace hearth::holder
