// Work that outlives the request that began it: a deployment, an import. Its events are kept and replayed.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"
#include "net/event_loop.hpp"

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace hearth::control {

/// Belongs to its loop. Whoever streams or works on it holds it by shared_ptr.
class Operation {
 public:
  Operation(net::EventLoop& loop, std::string id, std::string workspace)
      : id_(std::move(id)), workspace_(std::move(workspace)), changed_(loop) {}

  const std::string& id() const { return id_; }
  const std::string& workspace() const { return workspace_; }

  /// One JSON object, such as {"phase":"build","log":"…"}. Beyond a limit of events or bytes they are dropped, and a
  /// last one says so; the end is never dropped.
  void add(std::string event);
  void add_phase(std::string_view phase, std::string_view message);
  void succeed(std::string_view result_json);
  void fail(const Error& error);

  bool ended() const { return ended_; }
  MonoTime ended_at() const { return ended_at_; }
  const std::vector<std::string>& events() const { return events_; }
  net::Event& changed() { return changed_; }

 private:
  void end(std::string event);

  std::string id_;
  std::string workspace_;
  std::vector<std::string> events_;
  size_t bytes_ = 0;
  bool full_ = false;
  bool ended_ = false;
  MonoTime ended_at_{};
  net::Event changed_;
};

/// All operations of this process: running ones, and ended ones for an hour.
class OperationRegistry {
 public:
  explicit OperationRegistry(net::EventLoop& loop) : loop_(loop) {}

  /// exhausted when the workspace has too many running.
  Result<std::shared_ptr<Operation>> begin(const std::string& workspace);
  /// Null when there is none of that id in the workspace.
  std::shared_ptr<Operation> find(const std::string& id, std::string_view workspace) const;

 private:
  void drop_old();

  net::EventLoop& loop_;
  std::unordered_map<std::string, std::shared_ptr<Operation>> operations_;
};

}  // namespace hearth::control
