#include "router/catalog_cache.hpp"

#include "base/log.hpp"

#include <utility>

namespace hearth::router {
namespace {

constexpr Duration kUnknownInterval = milliseconds(250);
constexpr size_t kWaitingMax = 1000;

}  // namespace

CatalogCache::CatalogCache(net::EventLoop& loop, net::BlockingPool& pool, std::shared_ptr<blob::ObjectStore> store)
    : loop_(loop), pool_(pool), catalog_(std::make_shared<catalog::Catalog>(std::move(store))) {}

void CatalogCache::start(Duration interval, std::function<void()> changed) {
  changed_ = std::move(changed);
  interval_ = loop_.call_every(interval, [this] { begin(); });
  begin();
}

void CatalogCache::stop() {
  stopped_ = true;
  interval_.cancel();
  delayed_.cancel();
}

Duration CatalogCache::age() const {
  return loop_.now() - succeeded_;
}

void CatalogCache::refresh(Done done) {
  waiting_.push_back(std::move(done));
  if (running_now_) {
    again_ = true;
  } else {
    begin();
  }
}

void CatalogCache::refresh_for_unknown(Done done) {
  if (waiting_.size() + running_.size() >= kWaitingMax) return done();
  if (!snapshot_ && running_now_) return running_.push_back(std::move(done));  // the first read of a new router
  waiting_.push_back(std::move(done));
  if (delayed_.is_set()) return;
  const MonoTime at = began_ + kUnknownInterval;
  if (at <= loop_.now() && !running_now_) return begin();
  delayed_ = loop_.call_at(at, [this] {
    delayed_ = {};
    if (running_now_) {
      again_ = true;
    } else {
      begin();
    }
  });
}

void CatalogCache::begin() {
  if (running_now_ || stopped_) return;
  running_now_ = true;
  again_ = false;
  began_ = loop_.now();
  running_ = std::exchange(waiting_, {});
  pool_.run_then([catalog = catalog_, previous = snapshot_] { return catalog->refresh(previous); },
                 [this](Result<std::shared_ptr<const catalog::Snapshot>> result) { finished(std::move(result)); });
}

void CatalogCache::finished(Result<std::shared_ptr<const catalog::Snapshot>> result) {
  running_now_ = false;
  if (result) {
    complained_ = false;
    succeeded_ = loop_.now();
    if (*result != snapshot_) {
      snapshot_ = std::move(*result);
      changed_();
    }
  } else if (!std::exchange(complained_, true)) {
    log_warning("cannot read the catalog, going on with what is known", {{"error", result.error().message}});
  }
  for (Done& done : std::exchange(running_, {})) done();
  if (again_) begin();
}

}  // namespace hearth::router
