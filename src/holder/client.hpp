// Speaks to the holder: descriptors kept under names, children that outlive their starter, reads of files that are not
// all here yet (docs/formats/holder.md).
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"
#include "base/seqpacket.hpp"
#include "base/unique_fd.hpp"
#include "holder/event.hpp"

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hearth::holder {

/// What to start. The child leads a session of its own, has default signals and stdin from /dev/null.
struct SpawnRequest {
  std::vector<std::string> args;         // args[0] is looked up in PATH
  std::vector<std::string> environment;  // "KEY=value"; the whole environment of the child
  std::string directory;                 // working directory; empty means /
  std::string output;  // file to append stdout and stderr to (created 0600); empty means /dev/null unless mapped below
  std::vector<std::pair<int, int>> fds;  // {descriptor here, its number in the child}; at most 60
};

/// One child, or orphan of a child (a container whose runc has exited), that ended.
struct Exit {
  uint64_t sequence = 0;  // counts from 1 in each life of the holder
  Child child;
  int code = 0;    // exit status when signal is 0
  int signal = 0;  // what killed it
};

/// Blocking; every method is thread-safe. Connects when first used and again after the holder was restarted: what can
/// be repeated is then repeated once, spawn and relay only when they cannot have arrived. A restarted holder holds
/// nothing: owners put their descriptors again, and children of the old one are no longer its children (watch them with
/// a pidfd). Errors: unavailable (no holder), not_found, denied, invalid_argument, exhausted.
class Client {
 public:
  explicit Client(std::filesystem::path socket);
  ~Client();
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;

  /// Keeps a duplicate of `fd`, in place of what the name held. Names: 1 to 255 bytes, e.g. "replica/k2f9/control".
  Result<> put(std::string_view name, int fd);
  Result<UniqueFd> get(std::string_view name);
  /// Names that begin with the prefix, sorted.
  Result<std::vector<std::string>> list(std::string_view prefix);
  /// Closes it; no error when there is none.
  Result<> drop(std::string_view name);

  /// Starts a child and returns at once.
  Result<Child> spawn(const SpawnRequest& request);
  /// Starts a child and waits for its end, over a connection of its own. When the deadline passes, the child's process
  /// group is killed and the error is deadline_exceeded.
  Result<Exit> run(const SpawnRequest& request, Deadline deadline = {});

  /// Ends after `after`, oldest first. The holder remembers the last 4096.
  Result<std::vector<Exit>> exits(uint64_t after = 0);

  /// Has the holder read this fanotify group (pre_content.hpp) from now on, and keep it under options.name. When the
  /// reads were relayed before, by a holder that is dead, it must be named: what that one had read and not answered is
  /// denied first, with EIO; returns how many there were. Harmless when the holder has this group already. Errors:
  /// unavailable (the predecessor still runs), already_exists (the holder relays another group), invalid_argument.
  Result<uint32_t> relay(int group, const RelayOptions& options);
  /// Reads of this file reach the listener from now on; again with the same name: replaces the token and the rest.
  /// Best before the file is marked. Errors: invalid_argument (a presence file too short, not regular files, …),
  /// already_exists (the file is tracked under another name).
  Result<> track(const TrackedFile& file);
  /// Ends that; the descriptor stays under its name until it is dropped (which ends it too).
  Result<> untrack(std::string_view name);
  /// A descriptor of the file that an event is about, which reads and writes without raising events: for whoever lost
  /// the one that was opened before the file was marked. not_found when the event has been answered.
  Result<UniqueFd> event_fd(uint64_t sequence);

  /// What the holder has done and has: "events", "allowed", "descriptors", … (docs/formats/holder.md).
  Result<std::map<std::string, uint64_t>> counts();
  /// The holder that answers now: to be named as predecessor when it is dead.
  Result<Child> process();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Pushes every end of a child as it happens. Not thread-safe. Lost (`unavailable`) when the holder dies: open again,
/// and look after every child you know yourself, since a new holder does not know them.
class ExitStream {
 public:
  static Result<ExitStream> open(const std::filesystem::path& socket, uint64_t after = 0);

  /// The next one; deadline_exceeded when none came in time, unavailable when the holder is gone.
  Result<Exit> next(Deadline deadline = {});
  /// Readable when next() will not block for long: for an event loop.
  int fd() const { return socket_.fd(); }

 private:
  explicit ExitStream(SeqpacketSocket socket) : socket_(std::move(socket)) {}
  SeqpacketSocket socket_;
  std::vector<Exit> received_;  // newest first
};

/// The reads that wait, for the one process that fills files: whoever opens it last. Lost (`unavailable`) when the
/// holder dies: open again, after the group and the files were given to the next holder. What nobody had answered when
/// the listener before was lost comes first.
class EventStream {
 public:
  static Result<EventStream> open(const std::filesystem::path& socket);

  /// One or more, oldest first. One thread calls it. Errors: deadline_exceeded, unavailable (the holder is gone),
  /// cancelled (another process listens now).
  Result<std::vector<Event>> next(Deadline deadline = {});
  /// Readable when next() will not block: for an event loop.
  int fd() const { return socket_.fd(); }

  /// One packet for up to 4,096 of them. Any thread; blocks only while the holder has not read what was sent before.
  /// Sequences that are answered or too old are ignored.
  Result<> answer(std::span<const EventAnswer> answers);

 private:
  explicit EventStream(SeqpacketSocket socket) : socket_(std::move(socket)) {}
  SeqpacketSocket socket_;
  SeqpacketMessage message_;  // its memory is used again
};

}  // namespace hearth::holder
