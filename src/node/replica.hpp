// One version on this node: decides with policy::ReplicaLifecycle, acts through ReplicaBody, and carries requests from
// routers to its workers with policy::SlotDispatch. There is one for each version anybody has asked for; it outlives
// its containers.
#pragma once

#include "node/node_context.hpp"
#include "node/replica_body.hpp"
#include "node/replica_record.hpp"
#include "policy/replica_lifecycle.hpp"
#include "policy/slot_dispatch.hpp"

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::node {

/// Loop thread only.
class Replica final : private BodyOwner, public std::enable_shared_from_this<Replica> {
 public:
  Replica(NodeContext& node, ReplicaKey key);
  ~Replica() override;

  const ReplicaKey& key() const { return key_; }
  policy::ReplicaState state() const { return life_.state(); }
  const std::string& reason() const { return life_.reason(); }
  MonoTime since() const { return life_.since(); }

  // --- what routers do ---
  /// A start if nothing runs; thaws when paused.
  void want();
  /// Queues one request; its payload is borrowed until own_payloads(). Call dispatch() after the last of a frame.
  void accept(PendingRequest& request);
  /// Sends what workers have room for.
  void dispatch();
  /// Copies the payloads of what is still queued: the frame they lie in is about to go.
  void own_payloads();
  /// Nobody waits any more. A queued request is answered now; a running one is cancelled, and later interrupted.
  void give_up(PendingRequest& request, GivenUp why);
  /// A given-up request still runs: interrupt it. When that has not helped either: stuck.
  void interrupt(PendingRequest& request);
  void stuck(const PendingRequest& request);
  void stop(std::string reason);
  /// Writes acknowledgements that are due.
  void flush_acks();

  // --- adoption ---
  /// Takes over what an earlier node process started. Error: it is gone.
  Result<> adopt(ReplicaRecord record, const catalog::VersionRecord& version);
  bool is_adopted() const { return adopted_; }
  /// Asks every worker for ids some router waits for; returns how many workers were asked. Each answers each id once:
  /// with the result when there is one, or with status 9.
  uint32_t ask_workers(const std::vector<uint64_t>& ids);
  /// An asked id is no longer wanted, wherever it runs.
  void cancel_everywhere(uint64_t id);
  void interrupt_everywhere(uint64_t id);

  // --- what the node tells others ---
  uint32_t credits() const;
  uint32_t slots() const { return slots_; }
  uint32_t busy() const { return in_flight_; }
  uint64_t queued() const { return queued_; }
  pid_t pid() const { return body_ ? body_->record().process.pid : -1; }
  std::string id() const { return body_ ? body_->record().id : std::string(); }
  const std::map<std::string, double>& start_ms() const { return start_ms_; }
  /// When the last start began; nullopt when it was another node process's, or there was none.
  std::optional<MonoTime> start_began() const;
  /// How long a start takes, as far as is known; zero: never started here.
  milliseconds start_estimate() const { return start_estimate_; }
  /// ready, paused, loading … as routers see it (wire.md, "target" events).
  std::string_view wire_state() const;
  /// Why no requests can be served now; empty when they can.
  std::string wire_reason() const;
  std::optional<catalog::VersionRecord> version() const { return version_; }

 private:
  // BodyOwner
  void on_worker_report(uint32_t index, const WorkerReport& report) override;
  void on_worker_result(uint32_t index, const wire::ResultView& result, ResultOrigin origin) override;
  void on_worker_input_end(uint32_t index) override;
  void on_worker_lost(uint32_t index) override;
  void on_worker_back(uint32_t index) override;
  void on_worker_died(const WorkerDeath& death) override;
  void on_supervisor_greeted() override;
  void on_body_died(const ProcessEnd& end) override;

  void step(const policy::lifecycle::Event& event);
  void act(const policy::lifecycle::Action& action);
  void arm_timer();
  void note_load();

  // starting (replica_start.cpp)
  void begin_start();
  void launch(StartPermits::Permit permit, MonoTime asked);
  void on_launched(Result<StartedReplica> started);
  void use_version(const catalog::VersionRecord& version);
  void make_body(ReplicaRecord record);
  void start_failed(std::string reason);
  void check_loaded();
  void on_ready();

  // stopping and freezing (replica_stop.cpp)
  void begin_stop(const std::string& reason);
  void stop_when_quiet();
  enum class Ending { stopped, start_failed, died };
  void destroy_body(Ending ending, std::string reason, const ProcessEnd& end = {.known = false});
  void set_frozen(bool frozen);
  void run_freezer();

  // requests
  void send(PendingRequest& request, uint32_t index);
  void answer(PendingRequest& request, wire::Status status, std::string_view message);
  void finish_request(PendingRequest& request);
  void fail_queued(const std::string& reason);
  void fail_lost(const std::vector<uint64_t>& ids, const ProcessEnd& end, const std::string& message);
  void give_back_never_begun(std::vector<uint64_t>& ids, const std::vector<uint64_t>& running);
  std::vector<uint64_t> in_flight_at(std::optional<uint32_t> index);
  void announce_credits();

  NodeContext& node_;
  const ReplicaKey key_;
  policy::ReplicaLifecycle life_{policy::LifecycleLimits{}};
  std::optional<policy::SlotDispatch> dispatch_;  // once the version is known
  std::optional<catalog::VersionRecord> version_;
  uint32_t slots_ = 0;
  std::unique_ptr<ReplicaBody> body_;
  uint64_t life_number_ = 0;  // counts starts: news of former lives is ignored
  bool launching_ = false;
  bool adopted_ = false;
  bool saw_ready_ = false;  // in this life
  MonoTime stop_by_;
  bool may_drain_ = true;  // false: what runs will not end by itself
  MonoTime start_began_;
  std::map<std::string, double> start_ms_;
  milliseconds start_estimate_{0};
  net::Timer timer_;
  net::Timer stop_timer_;
  net::Timer freezer_timer_;
  net::Timer start_over_timer_;

  std::deque<uint64_t> queue_;  // ids; answered ones are skipped
  uint64_t queued_ = 0;         // of queue_, still waiting
  size_t borrowed_ = 0;         // how many at the end of queue_ may have borrowed payloads
  uint32_t in_flight_ = 0;
  uint64_t sent_ = 0;  // ever
  bool load_told_ = false;
  uint32_t announced_credits_ = 0;
  std::map<uint32_t, std::vector<uint64_t>> limbo_;  // by worker: in flight when its connection was lost

  bool want_frozen_ = false;
  bool is_frozen_ = false;
  bool freezer_busy_ = false;
};

}  // namespace hearth::node
