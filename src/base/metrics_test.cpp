#include "base/metrics.hpp"

#include <gtest/gtest.h>

namespace hearth {
namespace {

TEST(MetricRegistry, WritesThePrometheusTextFormat) {
  MetricRegistry registry;
  registry.counter("hearth_requests_total", "Requests answered.", {{"model", "digits"}, {"status", "200"}}).add(3);
  registry.gauge("hearth_queue_rows", "Rows waiting.").set(-2);
  EXPECT_EQ(registry.expose(),
            "# HELP hearth_queue_rows Rows waiting.\n# TYPE hearth_queue_rows gauge\nhearth_queue_rows -2\n"
            "# HELP hearth_requests_total Requests answered.\n# TYPE hearth_requests_total counter\n"
            "hearth_requests_total{model=\"digits\",status=\"200\"} 3\n");
}

TEST(MetricRegistry, GivesTheSameMetricForTheSameLabels) {
  MetricRegistry registry;
  registry.counter("a_total", "A.", {{"x", "1"}}).add();
  EXPECT_EQ(registry.counter("a_total", "A.", {{"x", "1"}}).value(), 1u);
  EXPECT_EQ(registry.counter("a_total", "A.", {{"x", "2"}}).value(), 0u);
}

TEST(MetricRegistry, EscapesLabels) {
  MetricRegistry registry;
  registry.counter("a_total", "A.", {{"x", "q\"b\\n\n"}}).add();
  EXPECT_NE(registry.expose().find(R"(a_total{x="q\"b\\n\n"} 1)"), std::string::npos);
}

TEST(Histogram, CountsCumulatively) {
  MetricRegistry registry;
  Histogram& histogram = registry.histogram("run_seconds", "Run time.", {{"model", "m"}});
  histogram.observe(microseconds(100));
  histogram.observe(milliseconds(2));
  histogram.observe(seconds(1000));
  const std::string text = registry.expose();
  EXPECT_NE(text.find("run_seconds_bucket{model=\"m\",le=\"0.0001\"} 1\n"), std::string::npos) << text;
  EXPECT_NE(text.find("run_seconds_bucket{model=\"m\",le=\"0.0025\"} 2\n"), std::string::npos) << text;
  EXPECT_NE(text.find("run_seconds_bucket{model=\"m\",le=\"+Inf\"} 3\n"), std::string::npos) << text;
  EXPECT_NE(text.find("run_seconds_count{model=\"m\"} 3\n"), std::string::npos) << text;
}

}  // namespace
}  // namespace hearth
