// What the admin API needs of the process it lives in. app/ joins it to the router.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"
#include "blob/object_store.hpp"
#include "catalog/snapshot.hpp"
#include "net/blocking_pool.hpp"
#include "net/event_loop.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace hearth::control {

/// One call of a node's method. The functions run on the loop; `done` exactly once, possibly after the API is gone.
struct NodeCall {
  std::string method;
  std::string params;                                   // JSON
  std::function<void(std::string_view json)> progress;  // may be empty
  std::function<void(Result<std::string>)> done;        // the value's JSON text
  Deadline deadline;
};

/// Loop thread only; outlives the API.
class Host {
 public:
  virtual ~Host() = default;
  virtual net::EventLoop& loop() = 0;
  virtual net::BlockingPool& pool() = 0;
  virtual std::shared_ptr<blob::ObjectStore> store() = 0;
  /// Null until the catalog was first read.
  virtual std::shared_ptr<const catalog::Snapshot> snapshot() = 0;
  /// `done` when the snapshot holds everything written before this call, or the store did not answer.
  virtual void refresh_catalog(net::Job done) = 0;
  virtual void call_node(NodeCall call) = 0;
  virtual bool node_connected() = 0;
  /// Has the version started in the background.
  virtual void warm(const catalog::BranchRef& branch, uint32_t version) = 0;
  /// "http://host:port" for answers; empty: as the client called us.
  virtual std::string public_url() = 0;
  /// The live spool of records on this machine; may be empty.
  virtual std::filesystem::path spool() = 0;
};

}  // namespace hearth::control
