// What a node does for the object store as a whole: says where its bytes are, collects garbage, checks that it is
// whole.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"
#include "blob/object_store.hpp"
#include "catalog/kept_layers.hpp"
#include "image/garbage_collector.hpp"
#include "image/store_check.hpp"
#include "image/store_usage.hpp"

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace hearth::node {

/// Thread-safe; calls block, for minutes or longer.
class StoreCare {
 public:
  explicit StoreCare(std::shared_ptr<blob::ObjectStore> store) : store_(store), kept_(std::move(store)) {}

  /// Of a workspace and what is shared.
  Result<image::StoreUsage> usage(const std::string& workspace, const std::stop_token& stop);

  using ScopeReports = std::vector<std::pair<std::string, image::CollectReport>>;  // by scope
  /// One run over each scope. Runs of this process come one after another.
  Result<ScopeReports> collect(const std::vector<image::StoreScope>& scopes, const image::CollectOptions& options);
  Result<ScopeReports> collect_everything(const image::CollectOptions& options);

  Result<image::CheckReport> check(const std::string& workspace, const image::CheckOptions& options);

 private:
  Result<image::ScopeRoots> roots(const image::StoreScope& scope);

  std::shared_ptr<blob::ObjectStore> store_;
  catalog::KeptLayerReader kept_;
  std::mutex collecting_;
};

/// Collects all scopes now and then, from a thread: first some while after the start, then every `every`; and again
/// when the grace of what was condemned is over.
class RegularCollection {
 public:
  RegularCollection(std::shared_ptr<StoreCare> care, Duration every, Duration grace);
  ~RegularCollection();
  RegularCollection(const RegularCollection&) = delete;
  RegularCollection& operator=(const RegularCollection&) = delete;

 private:
  void work(const std::stop_token& stop);
  Duration collect_once(const std::stop_token& stop);

  std::shared_ptr<StoreCare> care_;
  const Duration every_;
  const Duration grace_;
  std::mutex mutex_;
  std::condition_variable_any stop_;
  std::jthread thread_;
};

}  // namespace hearth::node
