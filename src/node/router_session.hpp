// One router process as this node knows it: its targets, the results kept for it, and its connection, which may be lost
// and come back without any request noticing.
#pragma once

#include "base/clock.hpp"
#include "net/event_loop.hpp"
#include "node/ack_ledger.hpp"
#include "node/wire_link.hpp"
#include "wire/frame_writer.hpp"
#include "wire/kept_results.hpp"

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace hearth::node {

class Replica;

/// Loop thread only.
class RouterSession {
 public:
  RouterSession(std::string id, std::string generation) : id_(std::move(id)), generation_(std::move(generation)) {}

  const std::string& id() const { return id_; }
  const std::string& generation() const { return generation_; }

  /// A connection of this router process; it takes the place of an older one. Handles of targets begin anew.
  void connect(std::shared_ptr<WireLink> link);
  void disconnect();
  bool connected() const { return link_ != nullptr; }
  /// It said GOODBYE: the end of this connection is the end of the router.
  void set_leaving() { leaving_ = true; }
  bool is_leaving() const { return leaving_; }
  const WireLink* link() const { return link_.get(); }
  MonoTime disconnected_at() const { return disconnected_at_; }
  void set_disconnected_at(MonoTime at) { disconnected_at_ = at; }

  // --- targets ---
  void open(uint32_t target, Replica* replica) { targets_[target] = replica; }
  Replica* target(uint32_t handle) const;
  /// Every handle under which this router knows the replica.
  std::vector<uint32_t> handles_of(const Replica* replica) const;
  void forget(const Replica* replica);

  // --- results ---
  /// Numbers, keeps and queues one result. The payload has to stay valid until flush().
  void deliver(const wire::ResultEntry& entry, const wire::ResultPayload& payload, ResultOrigin origin);
  /// The same for a failure the node itself reports: {"error": message}; flushed at once.
  void deliver_failure(uint64_t id, wire::Status status, std::string_view message);
  /// Sends what deliver() has queued, in one frame.
  void flush();
  void acknowledge(uint64_t seq);
  /// ATTACH: what is kept after `seq` once more.
  void send_again_after(uint64_t seq);
  bool keeps(uint64_t id) const { return kept_.has(id); }
  /// The router will never come back: its results are of no use to anybody.
  void settle_everything();
  size_t kept() const { return kept_.count(); }

  // --- other frames ---
  void send(std::string frames);

 private:
  std::string id_;
  std::string generation_;
  std::shared_ptr<WireLink> link_;
  MonoTime disconnected_at_;
  bool leaving_ = false;
  std::unordered_map<uint32_t, Replica*> targets_;
  wire::KeptResults kept_;
  std::deque<ResultOrigin> origins_;  // of kept_, same order
  wire::ResultBatchWriter writer_;
  uint64_t first_in_writer_ = 0;
  std::string out_;
};

/// {"error": message} as JSON.
std::string error_json(std::string_view message);

}  // namespace hearth::node
