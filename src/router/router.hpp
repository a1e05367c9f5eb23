// The router process: HTTP in, wire frames to the node, results out; the admin API rides along.
#pragma once

#include "base/result.hpp"
#include "blob/object_store.hpp"
#include "catalog/snapshot.hpp"
#include "net/blocking_pool.hpp"
#include "net/event_loop.hpp"
#include "net/http_server.hpp"
#include "record/request_record.hpp"
#include "router/caller.hpp"
#include "router/config.hpp"
#include "router/node_link.hpp"

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

namespace hearth::router {

/// What the router offers to the admin API in the same process. Loop thread only; lives until run() returns.
class Services {
 public:
  virtual ~Services() = default;
  virtual net::EventLoop& loop() = 0;
  virtual net::BlockingPool& pool() = 0;
  virtual std::shared_ptr<blob::ObjectStore> store() = 0;
  /// Null until the catalog was first read.
  virtual std::shared_ptr<const catalog::Snapshot> snapshot() = 0;
  /// `done` when the snapshot holds everything written before this call, or the store did not answer.
  virtual void refresh_catalog(net::Job done) = 0;
  virtual void call_node(NodeCall call) = 0;
  virtual bool node_connected() = 0;
  /// Has the version started in the background. It is in the snapshot.
  virtual void warm(const catalog::BranchRef& branch, uint32_t version) = 0;
  virtual const Config& config() = 0;
};

/// Gets authenticated requests below /api/.
using AdminHandler = std::function<void(net::HttpRequest&&, std::shared_ptr<net::HttpExchange>, const Caller&)>;
using MakeAdmin = std::function<AdminHandler(Services&)>;

/// Where run() keeps records on their way to the store.
std::filesystem::path spool_of(const Config& config);

/// Serves until SIGTERM or SIGINT. Errors: what keeps it from starting (port taken, spool not writable …).
Result<> run(const Config& config, const MakeAdmin& make_admin);

/// The parts of run(), for tests: everything but signals and the spool of records.
class Router {
 public:
  static Result<std::unique_ptr<Router>> start(net::EventLoop& loop, const Config& config,
                                               std::shared_ptr<blob::ObjectStore> store, const MakeAdmin& make_admin);
  ~Router();

  void record_to(std::function<void(const record::RequestRecord&)> record);
  /// "127.0.0.1:8080" as bound.
  const std::string& address() const;
  /// No new connections; `drained` when all requests are answered.
  void drain(std::function<void()> drained);

  struct State;

 private:
  explicit Router(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace hearth::router
