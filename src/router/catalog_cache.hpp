// The catalog as this router knows it: a snapshot, renewed in the background. Looking something up costs no I/O.
#pragma once

#include "base/clock.hpp"
#include "catalog/catalog.hpp"
#include "net/blocking_pool.hpp"
#include "net/event_loop.hpp"

#include <functional>
#include <memory>
#include <vector>

namespace hearth::router {

/// Belongs to its loop; the store is read in the pool.
class CatalogCache {
 public:
  using Done = net::Job;

  CatalogCache(net::EventLoop& loop, net::BlockingPool& pool, std::shared_ptr<blob::ObjectStore> store);

  /// Renews now and then every `interval`. `changed` is called after each change of the snapshot.
  void start(Duration interval, std::function<void()> changed);
  void stop();

  /// Null until the store was first read.
  const std::shared_ptr<const catalog::Snapshot>& snapshot() const { return snapshot_; }
  /// Since the last renewal that worked.
  Duration age() const;

  /// After a change made here: `done` when a renewal that began after this call has ended, well or not.
  void refresh(Done done);
  /// For something unknown that may be new: like refresh, but at most every 250 ms, shared by all who ask meanwhile.
  /// While the first read runs, `done` is called when that has ended.
  /// `done` is called at once when too many wait already.
  void refresh_for_unknown(Done done);

 private:
  void begin();
  void finished(Result<std::shared_ptr<const catalog::Snapshot>> result);

  net::EventLoop& loop_;
  net::BlockingPool& pool_;
  std::shared_ptr<catalog::Catalog> catalog_;
  std::shared_ptr<const catalog::Snapshot> snapshot_;
  std::function<void()> changed_;
  net::Timer interval_;
  net::Timer delayed_;
  std::vector<Done> waiting_;  // for the next renewal to begin
  std::vector<Done> running_;  // for the one that runs
  bool running_now_ = false;
  bool again_ = false;
  bool complained_ = false;
  bool stopped_ = false;
  MonoTime began_{};
  MonoTime succeeded_{};
};

}  // namespace hearth::router
