#include "base/metrics.hpp"

#include "base/result.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace hearth {
namespace {

std::string label_text(const MetricLabels& labels) {
  std::string text;
  for (const auto& [name, value] : labels) {
    if (!text.empty()) text += ',';
    text += name + "=\"";
    for (const char c : value) {
      if (c == '\n') {
        text += "\\n";
        continue;
      }
      if (c == '"' || c == '\\') text += '\\';
      text += c;
    }
    text += '"';
  }
  return text;
}

std::string braces(std::string_view labels) {
  return labels.empty() ? std::string() : "{" + std::string(labels) + "}";
}

void append_histogram(std::string& out, std::string_view name, std::string_view labels, const Histogram& histogram) {
  const std::string comma = labels.empty() ? "" : ",";
  uint64_t total = 0;
  for (size_t i = 0; i <= Histogram::kBoundsSeconds.size(); ++i) {
    total += histogram.bucket(i);
    const std::string bound =
        i < Histogram::kBoundsSeconds.size() ? fmt::format("{:g}", Histogram::kBoundsSeconds[i]) : "+Inf";
    out += fmt::format("{}_bucket{{{}{}le=\"{}\"}} {}\n", name, labels, comma, bound, total);
  }
  out += fmt::format("{}_sum{} {}\n", name, braces(labels), histogram.sum_seconds());
  out += fmt::format("{}_count{} {}\n", name, braces(labels), total);
}

}  // namespace

void Histogram::observe(Duration duration) {
  const double value = std::chrono::duration<double>(duration).count();
  size_t at = 0;
  while (at < kBoundsSeconds.size() && value > kBoundsSeconds[at]) ++at;
  buckets_[at].fetch_add(1, std::memory_order_relaxed);
  sum_ns_.fetch_add(static_cast<uint64_t>(std::max<int64_t>(0, duration.count())), std::memory_order_relaxed);
}

uint64_t Histogram::count() const {
  uint64_t total = 0;
  for (const auto& bucket : buckets_) total += bucket.load(std::memory_order_relaxed);
  return total;
}

Counter& MetricRegistry::counter(std::string_view name, std::string_view help, const MetricLabels& labels) {
  const std::lock_guard lock(mutex_);
  auto& found = series(name, help, "counter", labels).counter;
  if (!found) found = std::make_unique<Counter>();
  return *found;
}

Gauge& MetricRegistry::gauge(std::string_view name, std::string_view help, const MetricLabels& labels) {
  const std::lock_guard lock(mutex_);
  auto& found = series(name, help, "gauge", labels).gauge;
  if (!found) found = std::make_unique<Gauge>();
  return *found;
}

Histogram& MetricRegistry::histogram(std::string_view name, std::string_view help, const MetricLabels& labels) {
  const std::lock_guard lock(mutex_);
  auto& found = series(name, help, "histogram", labels).histogram;
  if (!found) found = std::make_unique<Histogram>();
  return *found;
}

MetricRegistry::Series& MetricRegistry::series(std::string_view name, std::string_view help, std::string_view type,
                                               const MetricLabels& labels) {
  const auto known = families_.find(name);
  Family& family = known != families_.end() ? known->second : families_[std::string(name)];
  if (family.type.empty()) {
    family.help = help;
    family.type = type;
  }
  CHECK_PROMISE(family.type == type);
  Series& found = family.series[label_text(labels)];
  if (found.labels.empty()) found.labels = label_text(labels);
  return found;
}

std::string MetricRegistry::expose() const {
  const std::lock_guard lock(mutex_);
  std::string out;
  for (const auto& [name, family] : families_) {
    out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, family.help, name, family.type);
    for (const auto& [labels, series] : family.series) {
      if (series.counter) out += fmt::format("{}{} {}\n", name, braces(labels), series.counter->value());
      if (series.gauge) out += fmt::format("{}{} {}\n", name, braces(labels), series.gauge->value());
      if (series.histogram) append_histogram(out, name, labels, *series.histogram);
    }
  }
  return out;
}

}  // namespace hearth
