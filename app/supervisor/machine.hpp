// All of Hearth on one machine, as `hearth up` runs it: checks, first initialisation, supervision.
#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "supervisor/layout.hpp"

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace hearth::supervisor {

struct MachineOptions {
  std::string data_dir;
  std::string listen;                     // HOST:PORT
  std::string store;                      // empty: DATA/store
  std::string image_backend;              // of imagefs
  std::vector<std::string> imagefs_args;  // its flags that the operator chose, this one among them
  Users users;
};

/// What a user needs to know of a running machine.
struct Announcement {
  std::string url;
  std::string key;  // empty when the context file is gone
  std::string data_dir;
  pid_t pid = -1;  // of the supervisor

  std::string json() const;  // {"url", "key", "data_dir", "pid"}; key null when empty
};

struct MachineEvents {
  std::function<void(const std::string& text)> on_progress;
  std::function<void(const Announcement&)> on_ready;
};

/// Root, programs, address: what can be said before anything is touched. One error that says what to do.
Result<> check_machine(const MachineOptions& options);

/// Held by the supervisor of a data folder for as long as it lives. already_exists when another one lives.
Result<UniqueFd> take_lock(const Layout& layout);

/// What the living supervisor of the folder serves; nothing while it starts or stops.
std::optional<Announcement> announcement_of_running(const Layout& layout);

/// Brings up what does not run yet and supervises it until told to stop; then all has ended. The caller holds the lock.
Result<> run_machine(const MachineOptions& options, const MachineEvents& events);

}  // namespace hearth::supervisor
