// The node: runs replicas on this machine and carries requests from routers to them.
#pragma once

#include "base/result.hpp"
#include "catalog/version_record.hpp"
#include "net/blocking_pool.hpp"
#include "net/byte_channel.hpp"
#include "net/event_loop.hpp"
#include "node/node_context.hpp"
#include "node/replica.hpp"
#include "node/router_session.hpp"

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <unordered_map>
#include <vector>

namespace hearth::node {

/// What a long call may use while it runs.
struct CallControl {
  std::function<void(std::string)> progress;  // takes JSON text, from any thread
  std::stop_token stop;                       // the caller gave up
};

/// A call that blocks for long (build, import): runs on a thread of the call pool.
using BlockingCall = std::function<Result<std::string>(const std::string& params, const CallControl& control)>;

struct NodeOptions {
  std::string id = "local";
  std::filesystem::path socket;    // RUN/node.sock
  std::filesystem::path run_dir;   // RUN
  std::filesystem::path data_dir;  // DATA/node
  std::optional<gid_t> router_gid;
  uint32_t start_permits = 2;
  Duration stuck_after = seconds(12);      // since a request was given up; its worker is to be killed after two
  std::function<void()> on_change;         // a replica changed: something to announce
  Duration router_patience = seconds(30);  // how long requests of a router that is gone are carried on
  std::map<std::string, BlockingCall> calls;
  std::map<std::string, BlockingCall> store_calls;  // run in store_pool: they may take hours, builds must not wait
  net::BlockingPool* store_pool = nullptr;          // null: Parts::call_pool
};

enum class AfterStop { replicas_stop, replicas_stay };

/// Loop thread only. Destroying it leaves the replicas running; the next Node on the same run_dir adopts them.
class Node {
 public:
  struct Parts {
    net::EventLoop& loop;
    net::BlockingPool& pool;       // starts, freezing, small files
    net::BlockingPool& call_pool;  // builds and imports, so that they never hold up a start
    ReplicaLauncher& launcher;
    VersionSource versions;
  };

  Node(Parts parts, NodeOptions options);
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  /// Adopts what runs, then serves. Blocks for a few milliseconds while it reads what is there.
  Result<> start();
  /// No new requests; stops the replicas or leaves them; `done` when that is over.
  void stop(AfterStop after, std::function<void()> done);

  /// Every version anybody has asked for, by key.
  const std::map<ReplicaKey, std::shared_ptr<Replica>>& replicas() const { return replicas_; }
  /// {"node", "replicas": […], "resources": {…}}: the answer to `status`.
  std::string status_json() const;

 private:
  struct Call {
    RouterSession* session;
    std::stop_source stop;
  };
  /// An id that adopted workers were asked for.
  struct Asked {
    std::vector<std::pair<Replica*, uint32_t>> silent;  // who has not said yet
    bool may_have_died_there = false;
  };
  /// A result of an adopted worker that no router has asked for yet.
  struct Orphan {
    wire::ResultEntry entry;
    std::string value, stdout_text, stderr_text;
    ResultOrigin origin;
  };

  // routers (node_routers.cpp)
  void on_accept(std::shared_ptr<net::ByteChannel> channel);
  Result<> on_hello(const std::shared_ptr<WireLink>& link, const wire::Hello& hello);
  void on_closed(const std::shared_ptr<WireLink>& link);
  void on_frame(RouterSession& session, const wire::Frame& frame);
  void on_input_end();
  void on_requests(RouterSession& session, const wire::Frame& frame);
  void on_request(RouterSession& session, const wire::Request& request);
  void on_cancel(RouterSession& session, const wire::Frame& frame);
  void on_open(RouterSession& session, const wire::Frame& frame);
  void acknowledge(RouterSession& session, uint64_t seq);
  void give_up_work(RouterSession& session);
  void drop_session(const std::string& id);
  void out_of_patience(const std::string& id);
  RouterSession* session_of(const WireLink* link);

  // attaching (node_attach.cpp)
  void on_attach(RouterSession& session, const wire::Frame& frame);
  void on_unexpected_result(Replica& replica, uint32_t worker, const wire::ResultView& result, ResultOrigin origin);
  void on_worker_gone(Replica& replica, uint32_t worker);
  void answered_unknown(uint64_t id);
  void adopt_all(const std::vector<std::string>& ids);
  void drop_orphans();

  // calls (node_calls.cpp)
  void on_call(RouterSession& session, const wire::Request& request);
  struct PooledCall {
    const BlockingCall& call;
    net::BlockingPool& pool;
  };
  std::optional<PooledCall> find_call(const std::string& method);
  void run_blocking(uint64_t id, const PooledCall& call, std::string params);
  bool stop_call(const RouterSession& session, uint64_t id);
  void finish_call(uint64_t id, const Result<std::string>& result);
  Result<std::string> forget(const std::string& params);
  void report_start(uint64_t id, const std::string& params);

  // targets and time
  Replica& replica_for(const ReplicaKey& key);
  void announce(Replica& replica);
  void give_credits(const Replica& replica);
  void announce_to(RouterSession& session, Replica& replica, uint32_t handle);
  uint32_t credits_for(const Replica& replica) const;
  void look_again_at(MonoTime at);
  void look_at_requests();
  void look_at_request(PendingRequest& request, std::optional<MonoTime>& next);

  Parts parts_;
  NodeOptions options_;
  std::string boot_;
  NodeContext context_;
  std::map<ReplicaKey, std::shared_ptr<Replica>> replicas_;
  std::unique_ptr<net::StreamListener> listener_;
  std::vector<std::shared_ptr<WireLink>> strangers_;  // connected, not yet greeted
  std::map<std::string, std::unique_ptr<RouterSession>> sessions_;
  std::map<std::string, net::Timer> session_timers_;
  std::vector<Replica*> touched_;  // got requests in this input
  std::unordered_map<uint64_t, Asked> asked_;
  std::unordered_map<uint64_t, Orphan> orphans_;
  std::unordered_map<uint64_t, Call> calls_;
  net::Timer orphan_timer_;
  net::Timer ack_timer_;
  net::Timer request_timer_;
  std::optional<MonoTime> request_timer_at_;
  net::Timer stop_timer_;
  bool stopping_ = false;
  std::shared_ptr<bool> alive_;
};

}  // namespace hearth::node
