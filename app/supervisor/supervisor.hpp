// Keeps the roles of one machine running: starts or adopts them, restarts what dies, stops all when told.
#pragma once

#include "base/result.hpp"
#include "base/seqpacket.hpp"
#include "base/unique_fd.hpp"
#include "policy/restart_backoff.hpp"
#include "supervisor/role.hpp"
#include "supervisor/run_state.hpp"

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace hearth::supervisor {

struct SupervisorOptions {
  Layout layout;
  std::string url;
  std::string store;
  std::vector<Role> roles;            // in the order in which they start
  Duration ready_time = seconds(60);  // for a role that starts for the first time
  /// Called whenever a role has become ready (again): the holder then gets its descriptors.
  std::function<void(const std::string& role)> on_role_ready;
  /// Called once, when all roles are.
  std::function<void()> on_ready;
  std::function<void(const std::string& text)> on_progress;
  /// Called every ten seconds.
  std::function<void()> on_tick;
};

/// Single-threaded: signals, control socket and processes in one poll loop. Is the subreaper of all roles, so that
/// containers of a holder that died stay below it.
class Supervisor {
 public:
  class Private {
    friend class Supervisor;
    Private() = default;
  };
  /// Takes RUN/supervisor.sock. The caller holds the lock file.
  static Result<std::unique_ptr<Supervisor>> open(SupervisorOptions options);
  Supervisor(Private, SupervisorOptions options, SeqpacketListener control);
  ~Supervisor();

  /// Runs until SIGTERM, SIGINT or `hearth down`; everything is stopped when it returns. Error: a role could not be
  /// started at all, with the last words of its log.
  Result<> run();

 private:
  struct Slot {
    Role role;
    std::optional<WatchedProcess> process;
    policy::RestartBackoff backoff{};
    MonoTime start_at{};
    MonoTime launched{};
    int64_t started_us = 0;
    uint64_t log_start = 0;  // where its log stood then
    bool ready = false;
    bool ever_ready = false;
  };
  enum class Order { none, stop };

  void adopt();
  Result<> step(MonoTime now);
  Result<> start_due(Slot& slot, MonoTime now);
  Result<> on_death(Slot& slot, MonoTime now);
  Result<> check_ready(Slot& slot, MonoTime now);
  int poll_timeout_ms(MonoTime now) const;
  Order wait(MonoTime now);
  Order take_signals();
  Order take_control();
  void reap();
  void rotate_logs(MonoTime now);
  RunState run_state() const;
  void record();
  void bring_holder_back();
  void stop_all();
  bool all_ready() const;

  SupervisorOptions options_;
  SeqpacketListener control_;
  UniqueFd signals_;
  std::vector<Slot> slots_;
  std::vector<SeqpacketSocket> stoppers_;  // who asked for the end and is told of it
  std::map<pid_t, std::string> ends_;      // how reaped children ended
  bool announced_ = false;
  MonoTime rotate_at_{};
};

}  // namespace hearth::supervisor
