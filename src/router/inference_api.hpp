// The native REST: from HTTP request to pending request and from answer to HTTP response.
#pragma once

#include "base/metrics.hpp"
#include "net/http_server.hpp"
#include "record/request_record.hpp"
#include "router/caller.hpp"
#include "router/catalog_cache.hpp"
#include "router/config.hpp"
#include "router/dispatcher.hpp"

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

namespace hearth::router {

/// Belongs to its loop.
class InferenceApi {
 public:
  using Record = std::function<void(const record::RequestRecord&)>;

  InferenceApi(const Config& config, CatalogCache& catalog, Dispatcher& dispatcher, MetricRegistry& metrics);
  /// Where the record of each request goes; cheap, never blocks.
  void record_to(Record record) { record_ = std::move(record); }

  void handle(net::HttpRequest&& request, std::shared_ptr<net::HttpExchange> exchange);
  /// What the dispatcher calls when a request ends. Takes the body of the answer; null when the client went away.
  void finished(PendingRequest& request, Answer* answer);
  /// What was looked up in the former snapshot does not hold any more.
  void snapshot_changed() { routes_.clear(); }

 private:
  struct Route {
    std::shared_ptr<const catalog::VersionRecord> record;
    std::string alias;
    VersionTarget* target = nullptr;
  };
  struct TextHash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };

  void admit(std::unique_ptr<PendingRequest> request, Try attempt);
  void refresh_and_retry(std::unique_ptr<PendingRequest> request);
  Result<const Route*> route(const net::HttpRequest& request, const std::string& workspace);
  Result<> read_body(PendingRequest& request, const catalog::TimeoutConfig& timeouts) const;
  void reject(PendingRequest& request, int status, std::string_view message);
  void respond(PendingRequest& request, Answer&& answer);
  void write_record(const PendingRequest& request, const Answer* answer, Duration total);
  std::string make_request_id();

  const Config& config_;
  CatalogCache& catalog_;
  Dispatcher& dispatcher_;
  MetricRegistry& metrics_;
  Record record_;
  record::RequestRecord scratch_;
  std::unordered_map<std::string, Route, TextHash, std::equal_to<>> routes_;
  std::string route_key_;
  std::string id_prefix_;
  uint64_t id_count_ = 0;
};

}  // namespace hearth::router
