// One version as the router serves it: its queue, its cold-start gate, its figures.
#pragma once

#include "base/metrics.hpp"
#include "catalog/version_record.hpp"
#include "policy/start_gate.hpp"
#include "policy/version_queue.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

namespace hearth::router {

/// Histograms and counters of one version, looked up once.
class VersionMetrics {
 public:
  VersionMetrics(MetricRegistry& registry, const catalog::VersionRecord& record);

  Counter& requests(int status);
  Histogram& queue;
  Histogram& wait;
  Histogram& run;
  Histogram& total;
  Counter& rows;
  Counter& cold_starts;
  Gauge& queued_rows;
  Gauge& outstanding_rows;

 private:
  MetricRegistry& registry_;
  MetricLabels labels_;
  std::map<int, Counter*> by_status_;
};

struct VersionTarget {
  VersionTarget(uint32_t its_handle, std::shared_ptr<const catalog::VersionRecord> its_record, MetricRegistry& registry)
      : handle(its_handle), record(std::move(its_record)), metrics(registry, *record) {}

  /// The body of OPEN.
  std::string open_json(policy::StartNode start) const;
  /// Nothing queued, nothing in flight.
  bool is_idle() const { return queue.queued_rows() == 0 && queue.outstanding() == 0; }

  const uint32_t handle;
  const std::shared_ptr<const catalog::VersionRecord> record;
  VersionMetrics metrics;
  policy::VersionQueue queue;
  policy::StartGate gate;
  MonoTime held_until{};  // the node said overloaded or not ready: no dispatch before this
  MonoTime shed_at{};     // when the queue was last looked through for requests that cannot make it
  bool wants_pump = false;
};

}  // namespace hearth::router
