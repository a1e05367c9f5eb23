// One life of a replica: its processes from started (or adopted) to gone. Connects to supervisor and workers, watches
// the first process, and tells what dies and how. What to do about it is Replica's.
#pragma once

#include "net/blocking_pool.hpp"
#include "net/event_loop.hpp"
#include "node/launcher.hpp"
#include "node/replica_record.hpp"
#include "node/supervisor_link.hpp"
#include "node/worker_link.hpp"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace hearth::node {

struct WorkerDeath {
  uint32_t index = 0;
  ProcessEnd end;
  bool stays_down = false;        // nobody forks another
  std::vector<uint64_t> running;  // of the call it died in; empty: not known
};

/// Where a body reports to. Calls come on the loop.
class BodyOwner {
 public:
  virtual ~BodyOwner() = default;
  virtual void on_worker_report(uint32_t index, const WorkerReport& report) = 0;
  virtual void on_worker_result(uint32_t index, const wire::ResultView& result, ResultOrigin origin) = 0;
  virtual void on_worker_input_end(uint32_t index) = 0;
  /// Its connection is gone: send it nothing. on_worker_died or on_worker_back follows.
  virtual void on_worker_lost(uint32_t index) = 0;
  /// The same process answers again: what was in flight there still is.
  virtual void on_worker_back(uint32_t index) = 0;
  /// What was in flight there is lost.
  virtual void on_worker_died(const WorkerDeath& death) = 0;
  virtual void on_supervisor_greeted() = 0;
  /// Everything is gone.
  virtual void on_body_died(const ProcessEnd& end) = 0;
};

/// Loop thread only. May not be destroyed inside a call to its owner (defer it).
class ReplicaBody {
 public:
  struct Surroundings {
    net::EventLoop& loop;
    net::BlockingPool& pool;
    ReplicaLauncher& launcher;
    wire::Hello greeting;
  };

  ReplicaBody(Surroundings around, ReplicaRecord record, std::filesystem::path directory, BodyOwner& owner);
  ~ReplicaBody();
  ReplicaBody(const ReplicaBody&) = delete;
  ReplicaBody& operator=(const ReplicaBody&) = delete;

  /// Watches the process and connects everything. Error: the process is gone already.
  Result<> begin();

  WorkerLink& worker(uint32_t index) { return *workers_[index]; }
  uint32_t slots() const { return static_cast<uint32_t>(workers_.size()); }
  SupervisorLink& supervisor() { return supervisor_; }
  const ReplicaRecord& record() const { return record_; }
  ReplicaRecord& record() { return record_; }
  const std::filesystem::path& directory() const { return directory_; }
  /// Supervisor and all workers have said HELLO.
  bool all_greeted() const;

 private:
  struct Death {  // of one worker, between the first sign and the verdict
    bool connection_lost = false;
    bool exit_known = false;
    bool judged = false;  // the owner knows; until another process says HELLO
    WorkerExit exit;
    net::Timer patience;
  };

  WorkerLink::Handlers handlers_for(uint32_t index);
  void reconnect_worker(uint32_t index);
  void on_worker_lost(uint32_t index);
  void on_worker_exited(const WorkerExit& exit);
  void judge_worker(uint32_t index);
  void on_supervisor_lost();
  void on_process_ended();
  void finish(const ProcessEnd& end);

  Surroundings around_;
  ReplicaRecord record_;
  const std::filesystem::path directory_;
  BodyOwner& owner_;
  std::shared_ptr<bool> alive_;
  UniqueFd pidfd_;
  net::Watch process_watch_;
  SupervisorLink supervisor_;
  std::vector<std::unique_ptr<WorkerLink>> workers_;
  std::vector<Death> deaths_;
  uint64_t oom_kills_ = 0;
  bool ended_ = false;
  net::Timer end_patience_;
  net::Timer reconnect_;
};

}  // namespace hearth::node
