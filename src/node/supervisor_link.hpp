// The connection to a replica's supervisor (process 1 inside): what its workers do, and the calls that change it.
#pragma once

#include "net/event_loop.hpp"
#include "node/wire_link.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::node {

struct WorkerExit {
  uint32_t index = 0;
  int code = 0;
  int signal = 0;
  bool forked_again = false;      // the supervisor starts another one by itself
  std::vector<uint64_t> running;  // of the call it died in; empty: in none
};

/// Loop thread only.
class SupervisorLink {
 public:
  struct Handlers {
    std::function<void()> on_greeted;
    std::function<void(const WorkerExit&)> on_worker_exited;
    std::function<void()> on_lost;
  };

  SupervisorLink(net::EventLoop& loop, std::filesystem::path socket, wire::Hello mine, Handlers handlers);

  Result<> connect();
  void close();
  bool greeted() const { return link_ != nullptr && link_->greeted(); }

  /// Raises RequestCancelled in the worker if it is still at that request, and kills it after `kill_after`.
  void interrupt(uint32_t index, uint64_t request, milliseconds kill_after);
  void restart(uint32_t index);
  void stop();

 private:
  void call(std::string_view payload);
  void on_frame(const wire::Frame& frame);

  net::EventLoop& loop_;
  const std::filesystem::path socket_;
  const wire::Hello mine_;
  Handlers handlers_;
  std::shared_ptr<WireLink> link_;
  uint64_t next_id_ = 1;
};

}  // namespace hearth::node
