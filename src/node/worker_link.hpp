// The connection to one worker slot of a replica, across deaths of the worker: the socket stays, the process behind it
// may be another one (its "boot" tells).
#pragma once

#include "net/event_loop.hpp"
#include "node/ack_ledger.hpp"
#include "node/wire_link.hpp"
#include "wire/frame_writer.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::node {

enum class WorkerState { silent, loading, ready, unready, failed };

/// What a worker says about itself in HELLO and state events.
struct WorkerReport {
  WorkerState state = WorkerState::silent;
  std::string error;   // why it failed: the first line
  std::string detail;  // type, stack and output of loading, for logs
  double import_ms = 0;
  double setup_ms = 0;
  std::vector<std::string> modules;
};

/// Loop thread only.
class WorkerLink {
 public:
  struct Handlers {
    std::function<void(const WorkerReport&)> on_report;
    /// Not for duplicates. The views are valid until on_input_end returns.
    std::function<void(const wire::ResultView&, ResultOrigin)> on_result;
    std::function<void()> on_input_end;
    /// Connected again to the process it was connected to before: nothing is lost, ask for what is in flight.
    std::function<void()> on_same_life;
    /// Another process answers now: what was in flight at the former is lost.
    std::function<void()> on_new_life;
    /// The connection is gone; connect() again.
    std::function<void()> on_lost;
  };

  WorkerLink(net::EventLoop& loop, uint32_t index, std::filesystem::path socket, wire::Hello mine);
  void set_handlers(Handlers handlers) { handlers_ = std::move(handlers); }

  /// The worker may accept much later: its HELLO says so.
  Result<> connect();
  void close();

  wire::Added send(const wire::RequestEntry& entry, std::string_view payload);
  void cancel(uint64_t id);
  /// Asks for these ids, and for all results kept after the last one seen.
  void attach(const std::vector<uint64_t>& ids);
  /// Writes what send() collected, with the acknowledgement.
  void flush();
  /// Acknowledges what routers have, if that is news.
  void flush_ack();

  uint32_t index() const { return index_; }
  bool greeted() const { return link_ != nullptr && link_->greeted(); }
  const WorkerReport& report() const { return report_; }
  /// Empty before the first HELLO.
  const std::string& boot() const { return boot_; }

 private:
  Result<> on_hello(const wire::Hello& hello);
  void on_frame(const wire::Frame& frame);
  void on_results(const wire::Frame& frame);
  void take_report(std::string_view json);
  void on_close(const Error& error);

  net::EventLoop& loop_;
  const uint32_t index_;
  const std::filesystem::path socket_;
  const wire::Hello mine_;
  Handlers handlers_;
  std::shared_ptr<WireLink> link_;
  std::string boot_;
  WorkerReport report_;
  std::shared_ptr<AckLedger> ledger_;  // null until the first result of this life
  uint64_t acked_ = 0;
  wire::RequestBatchWriter writer_;
  std::string out_;
};

}  // namespace hearth::node
