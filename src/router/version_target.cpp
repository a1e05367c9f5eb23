#include "router/version_target.hpp"

#include "net/http_message.hpp"

#include <fmt/format.h>

namespace hearth::router {
namespace {

MetricLabels labels_of(const catalog::VersionRecord& record) {
  return {{"workspace", record.branch.workspace},
          {"model", record.branch.model},
          {"branch", record.branch.branch},
          {"version", std::to_string(record.version)}};
}

Histogram& phase(MetricRegistry& registry, MetricLabels labels, const char* name) {
  labels.emplace_back("phase", name);
  return registry.histogram("hearth_request_seconds", "Time of requests by phase.", labels);
}

}  // namespace

VersionMetrics::VersionMetrics(MetricRegistry& registry, const catalog::VersionRecord& record)
    : queue(phase(registry, labels_of(record), "queue")),
      wait(phase(registry, labels_of(record), "wait")),
      run(phase(registry, labels_of(record), "run")),
      total(phase(registry, labels_of(record), "total")),
      rows(registry.counter("hearth_rows_total", "Rows answered.", labels_of(record))),
      cold_starts(registry.counter("hearth_cold_starts_total", "Starts asked of a node.", labels_of(record))),
      queued_rows(registry.gauge("hearth_queue_rows", "Rows waiting to be sent to a node.", labels_of(record))),
      outstanding_rows(registry.gauge("hearth_outstanding_rows", "Rows sent and not answered.", labels_of(record))),
      registry_(registry),
      labels_(labels_of(record)) {}

Counter& VersionMetrics::requests(int status) {
  Counter*& known = by_status_[status];
  if (known == nullptr) {
    MetricLabels labels = labels_;
    labels.emplace_back("status", std::to_string(status));
    known = &registry_.counter("hearth_requests_total", "Requests answered, by HTTP status.", labels);
  }
  return *known;
}

std::string VersionTarget::open_json(policy::StartNode start) const {
  return fmt::format(R"({{"workspace":{},"model":{},"branch":{},"version":{},"start":{}}})",
                     net::json_quote(record->branch.workspace), net::json_quote(record->branch.model),
                     net::json_quote(record->branch.branch), record->version, start == policy::StartNode::yes);
}

}  // namespace hearth::router
