// What all parts of one node share. Owned by Node; loop thread only.
#pragma once

#include "net/blocking_pool.hpp"
#include "net/event_loop.hpp"
#include "node/ack_ledger.hpp"
#include "node/launcher.hpp"
#include "node/replica_starter.hpp"
#include "node/request_table.hpp"
#include "node/start_permits.hpp"
#include "wire/frame.hpp"
#include "wire/hello.hpp"

#include <filesystem>
#include <functional>
#include <set>

namespace hearth::node {

class Replica;
class RouterSession;

struct NodeContext {
  net::EventLoop& loop;
  net::BlockingPool& pool;
  ReplicaLauncher& launcher;
  VersionSource versions;
  std::filesystem::path run_dir;
  std::filesystem::path data_dir;
  wire::Hello greeting;  // towards workers and supervisors
  StartPermits permits;
  uint32_t max_batch = 128;  // rows in one call of a batch model

  RequestTable requests;
  std::set<RouterSession*> unflushed;  // have results to be written before the input that holds them is gone

  // Set by Node.
  std::function<void(Replica&)> announce;       // state changed: tell the routers and the fleet
  std::function<void(Replica&)> give_credits;   // only the credits changed
  std::function<void(MonoTime)> look_again_at;  // somebody's deadline, or a given-up request is due
  std::function<void(Replica&, uint32_t worker, const wire::ResultView&, ResultOrigin)> unexpected_result;
  std::function<void(Replica&, uint32_t worker)> worker_gone;  // whoever was asked there gets no answer any more

  void flush_sessions();
};

}  // namespace hearth::node
