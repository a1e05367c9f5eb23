// Requests in, answers out: admission, dispatch to the node, deadlines, retries. Decisions come from src/policy.
#pragma once

#include "base/metrics.hpp"
#include "catalog/snapshot.hpp"
#include "net/event_loop.hpp"
#include "policy/deadline_set.hpp"
#include "router/answer.hpp"
#include "router/config.hpp"
#include "router/node_link.hpp"
#include "router/pending_request.hpp"
#include "router/version_target.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

namespace hearth::router {

/// Belongs to its loop. Every submitted request is finished exactly once.
class Dispatcher final : public NodeListener {
 public:
  /// Called when a request ends; `answer` is null when the client went away.
  using Finished = std::function<void(PendingRequest&, Answer* answer)>;

  Dispatcher(net::EventLoop& loop, const Config& config, MetricRegistry& metrics, Finished finished);
  ~Dispatcher() override;

  void start();
  void stop();

  /// The target of a version, made on first use. It stays until forget_removed() finds its version gone and it idle.
  VersionTarget& target_of(const std::shared_ptr<const catalog::VersionRecord>& record);
  void forget_removed(const catalog::Snapshot& snapshot);
  /// Asks the node to have it ready, without a request.
  void warm(VersionTarget& target);

  void submit(std::unique_ptr<PendingRequest> request);
  /// The client has gone: cancelled all the way into the replica.
  void abandon(uint64_t request);

  NodeLink& node() { return *node_; }
  const NodeLink& node() const { return *node_; }
  /// Connected, or away for less time than requests wait for it.
  bool node_expected() const;
  /// Connected, or away for less than that after it had been.
  bool node_ready() const { return node_->was_up() && node_expected(); }
  size_t pending() const { return requests_.size(); }
  void update_gauges();

  // NodeListener
  void link_up() override;
  void link_down() override;
  std::vector<uint64_t> ids_in_flight() override;
  std::vector<uint64_t> ids_given_up() override;
  void target_reported(uint32_t handle, const policy::TargetReport& report) override;
  void credits_given(uint32_t handle, uint32_t limit) override;
  void result_arrived(const wire::ResultView& result) override;

 private:
  struct InFlight {
    PendingRequest* request = nullptr;  // null: nobody waits any more
    VersionTarget* target = nullptr;
    uint32_t row = 0;
    MonoTime sent{};
  };
  using TargetKey = std::pair<catalog::BranchRef, uint32_t>;

  void ask_to_start(VersionTarget& target);
  void pump_later(VersionTarget& target);
  void pump();
  void pump(VersionTarget& target);
  void shed(VersionTarget& target, MonoTime now);
  void send_row(VersionTarget& target, policy::DispatchRow row);
  void take_row(PendingRequest& request, uint32_t row, const wire::ResultView& result);
  bool give_row_back(InFlight flight, const wire::ResultView& result);
  void complete(PendingRequest& request, std::string_view single_value);
  void finish(PendingRequest& request, Answer* answer);
  void fail_waiting(VersionTarget& target, const Answer& answer);
  void restart_if_wanted(VersionTarget& target);
  void deadlines_passed();
  void deadline_passed(PendingRequest& request);
  void arm_deadlines();
  void node_stays_away();
  PendingRequest* find(uint64_t request);

  net::EventLoop& loop_;
  const Config& config_;
  MetricRegistry& metrics_;
  Finished finished_;
  std::unique_ptr<NodeLink> node_;

  std::map<TargetKey, std::unique_ptr<VersionTarget>> targets_;
  std::unordered_map<uint32_t, VersionTarget*> by_handle_;
  uint32_t next_handle_ = 1;

  uint64_t next_request_ = 1;
  std::unordered_map<uint64_t, std::unique_ptr<PendingRequest>> requests_;
  std::unordered_map<uint64_t, InFlight> in_flight_;
  policy::DeadlineSet deadlines_;
  net::Timer deadline_timer_;
  MonoTime deadline_armed_ = MonoTime::max();
  net::Timer away_timer_;
  net::Timer held_timer_;
  std::vector<VersionTarget*> wants_pump_;
  std::vector<uint64_t> passed_;
  bool pump_scheduled_ = false;
};

}  // namespace hearth::router
