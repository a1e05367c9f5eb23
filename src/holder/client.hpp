// Speaks to the holder: descriptors kept under names, children that outlive their starter (docs/formats/holder.md).
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"
#include "base/seqpacket.hpp"
#include "base/unique_fd.hpp"

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <memory>
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

/// A process that cannot be confused with a later one of the same pid.
struct Child {
  pid_t pid = -1;
  uint64_t start_time = 0;  // clock ticks since boot: field 22 of /proc/<pid>/stat
  bool operator==(const Child&) const = default;
};

/// One child, or orphan of a child (a container whose runc has exited), that ended.
struct Exit {
  uint64_t sequence = 0;  // counts from 1 in each life of the holder
  Child child;
  int code = 0;    // exit status when signal is 0
  int signal = 0;  // what killed it
};

/// Blocking; every method is thread-safe. Connects when first used and again after the holder was restarted: put, get,
/// list, drop and exits are then repeated once; spawn is repeated only when it cannot have arrived. A restarted holder
/// holds nothing: owners put their descriptors again, and children of the old one are no longer its children (watch
/// them with a pidfd). Errors: unavailable (no holder), not_found, denied, invalid_argument, exhausted.
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

}  // namespace hearth::holder
