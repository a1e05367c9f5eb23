// The wire connection to one node, kept alive: hello, targets, requests with acks, results, calls, reconnect and
// attach.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"
#include "net/byte_channel.hpp"
#include "net/event_loop.hpp"
#include "policy/start_gate.hpp"
#include "wire/frame_decoder.hpp"
#include "wire/frame_writer.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace hearth::router {

/// What a node says. Called on the loop; views are valid during the call.
class NodeListener {
 public:
  virtual ~NodeListener() = default;
  /// A connection is agreed on. Open every target again (handles are per connection) before returning.
  virtual void link_up() = 0;
  /// What is in flight stays so: it is attached to when the node comes back.
  virtual void link_down() = 0;
  /// Ids of all requests sent and not answered, for ATTACH …
  virtual std::vector<uint64_t> ids_in_flight() = 0;
  /// … and those of them that nobody waits for any more: cancelled again, since a cancel may have been lost.
  virtual std::vector<uint64_t> ids_given_up() = 0;
  virtual void target_reported(uint32_t target, const policy::TargetReport& report) = 0;
  virtual void credits_given(uint32_t target, uint32_t limit) = 0;
  virtual void result_arrived(const wire::ResultView& result) = 0;
};

/// One call of a node's method ("build", "status" …). The functions run on the loop; done exactly once.
struct NodeCall {
  std::string method;
  std::string params;                                   // JSON
  std::function<void(std::string_view json)> progress;  // may be empty
  std::function<void(Result<std::string> value)> done;  // the value's JSON text
  Deadline deadline;
};

/// Belongs to its loop.
class NodeLink {
 public:
  NodeLink(net::EventLoop& loop, std::filesystem::path socket, NodeListener& listener);
  ~NodeLink();
  NodeLink(const NodeLink&) = delete;
  NodeLink& operator=(const NodeLink&) = delete;

  void start();
  /// From the next attempt to connect on.
  void set_socket(std::filesystem::path socket) { socket_ = std::move(socket); }
  /// Says goodbye and closes; no more callbacks.
  void stop();

  bool is_up() const { return up_; }
  bool was_up() const { return !boot_.empty() || up_; }
  /// Since when there has been no connection; meaningless while up.
  MonoTime down_since() const { return down_since_; }
  const std::string& node_id() const { return node_id_; }

  uint64_t next_id() { return next_id_++; }
  void open(uint32_t target, std::string_view json);
  /// Collected until flush(); the payload has to stay valid until then. False: larger than any frame.
  bool send(const wire::RequestEntry& entry, std::string_view payload);
  void cancel(uint64_t id);
  /// Writes what was collected, with the newest ack. Once a turn.
  void flush();

  void call(NodeCall call);

 private:
  struct PendingCall {
    NodeCall call;
    int sent = 0;
  };

  void connect();
  void reconnect_later();
  void connection_lost(const Error& error);
  void receive(std::string_view bytes);
  Result<> handle(const wire::Frame& frame);
  Result<> handle_hello(const wire::Frame& frame);
  void handle_results(const wire::Frame& frame);
  void handle_event(std::string_view json);
  void finish_call(const wire::ResultView& result);
  void send_call(uint64_t id, PendingCall& pending);
  void attach();
  void ack_later();
  void expire_calls();

  net::EventLoop& loop_;
  std::filesystem::path socket_;
  NodeListener& listener_;
  std::shared_ptr<net::ByteChannel> channel_;
  std::unique_ptr<wire::FrameDecoder> decoder_;
  wire::RequestBatchWriter batch_;
  std::string out_;
  bool up_ = false;
  bool stopped_ = false;
  bool complained_ = false;
  MonoTime down_since_;
  net::Timer retry_;
  Duration retry_after_{};
  std::string generation_;
  std::string boot_;
  std::string node_id_;
  uint64_t next_id_;
  uint64_t last_result_ = 0;
  uint64_t acked_ = 0;
  net::Timer ack_timer_;
  net::Timer call_timer_;
  std::unordered_map<uint64_t, PendingCall> calls_;
};

}  // namespace hearth::router
