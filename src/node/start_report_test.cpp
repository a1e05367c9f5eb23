#include "node/start_report.hpp"

#include "node/json_fields.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hearth::node {
namespace {

using nlohmann::json;

constexpr const char* kBase = R"({"format":1,"hits":10,"hit_bytes":40960,
  "bundle":{"outcome":"complete","received_bytes":1000,"stored_bytes":5000},
  "tiers":{"store":{"fetches":2,"demand_bytes":300,"prefetch_bytes":70,"waits":3,"waited_us":900},
           "disk":{"fetches":1,"demand_bytes":4096,"prefetch_bytes":0,"waits":1,"waited_us":50}},
  "reads":[{"at_us":1,"wait_us":100,"path":"/usr/bin/python3","offset":0,"length":4096,"tier":"disk"},
           {"at_us":2,"wait_us":300,"path":"/lib/libc.so","offset":0,"length":8192,"tier":"store"},
           {"at_us":3,"wait_us":500,"path":"/usr/bin/python3","offset":4096,"length":4096,"tier":"store"}]})";
constexpr const char* kCode = R"({"format":1,"hits":0,"hit_bytes":0,"bundle":null,
  "tiers":{"store":{"fetches":1,"demand_bytes":20,"prefetch_bytes":0,"waits":1,"waited_us":7}},
  "reads":[{"at_us":9,"wait_us":7,"path":"/lib/libc.so","offset":0,"length":20,"tier":"store"}]})";

LayerTrace traced(catalog::LayerRole role, Result<std::string> trace) {
  return {.layer = {.digest = Digest::of("x"), .size = 1, .role = role}, .trace = std::move(trace)};
}

StartFacts facts() {
  return {.node = "n1",
          .key = {{"w", "digits", "main"}, 3},
          .state = "ready",
          .began = WallTime(seconds(1'700'000'000)),
          .took_ms = {{"queue", 1},
                      {"record", 2},
                      {"fetch", 30},
                      {"mount", 4},
                      {"container", 50},
                      {"runner", 60},
                      {"import", 70},
                      {"setup", 80},
                      {"total", 297}}};
}

json report(const std::vector<LayerTrace>& layers) {
  return json::parse(start_report(facts(), layers));
}

TEST(StartReport, GroupsWhatTheNodeMeasuredIntoPhases) {
  const json told = report({});
  std::map<std::string, double> ms;
  for (const json& phase : told["phases"]) ms[phase["phase"]] = phase["ms"];
  EXPECT_EQ(ms,
            (std::map<std::string, double>{{"queue", 3}, {"mount", 34}, {"create", 50}, {"start", 60}, {"load", 150}}));
  EXPECT_EQ(told["phases"][1]["parts"], (json{{"fetch", 30.0}, {"mount", 4.0}}));
  EXPECT_EQ(told["ready_ms"], 297);
  EXPECT_EQ(told["began"], "2023-11-14T22:13:20.000000Z");
  EXPECT_EQ(told["version"], 3);
}

TEST(StartReport, SumsTiersOverLayers) {
  const json tiers =
      report({traced(catalog::LayerRole::base, kBase), traced(catalog::LayerRole::code, kCode)})["tiers"];
  EXPECT_EQ(tiers["store"],
            (json{{"reads", 3}, {"bytes", 320}, {"ahead_bytes", 70}, {"waits", 4}, {"waited_us", 907}}));
  EXPECT_EQ(tiers["disk"],
            (json{{"reads", 11}, {"bytes", 45056}, {"ahead_bytes", 0}, {"waits", 1}, {"waited_us", 50}}));
  EXPECT_EQ(tiers["bundle"]["ahead_bytes"], 1000);
}

TEST(StartReport, ListsTheFilesThatWereWaitedForLongest) {
  const json slowest =
      report({traced(catalog::LayerRole::base, kBase), traced(catalog::LayerRole::code, kCode)})["slowest"];
  ASSERT_EQ(slowest.size(), 3U);
  EXPECT_EQ(slowest[0], (json{{"layer", "base"},
                              {"path", "/usr/bin/python3"},
                              {"reads", 2},
                              {"bytes", 8192},
                              {"waited_us", 600},
                              {"tier", "store"}}));
  EXPECT_EQ(slowest[1]["path"], "/lib/libc.so");
  EXPECT_EQ(slowest[2]["layer"], "code") << "the same path of another layer is another file";
}

TEST(StartReport, ListsNoMoreFilesThanItSays) {
  json trace = {{"reads", json::array()}};
  for (size_t i = 0; i < kSlowestFiles + 5; ++i) {
    trace["reads"].push_back({{"path", "/" + std::to_string(i)}, {"wait_us", i}, {"length", 1}, {"tier", "store"}});
  }
  const json slowest = report({traced(catalog::LayerRole::base, trace.dump())})["slowest"];
  EXPECT_EQ(slowest.size(), kSlowestFiles);
  EXPECT_EQ(slowest[0]["waited_us"], kSlowestFiles + 4);
}

TEST(StartReport, ALayerWithoutATraceSaysWhy) {
  const json layers = report({traced(catalog::LayerRole::code, fail(ErrorCode::not_found, "not remembered")),
                              traced({}, "no json")})["layers"];
  EXPECT_EQ(layers[0]["error"], "not remembered");
  EXPECT_FALSE(layers[0].contains("trace"));
  EXPECT_TRUE(layers[1]["trace"].is_null());
}

TEST(StartReport, AStartOfAnEarlierProcessHasNoPhases) {
  StartFacts adopted = facts();
  adopted.took_ms.clear();
  adopted.began.reset();
  const json told = json::parse(start_report(adopted, {}));
  EXPECT_TRUE(told["phases"].empty());
  EXPECT_TRUE(told["ready_ms"].is_null());
  EXPECT_TRUE(told["began"].is_null());
}

}  // namespace
}  // namespace hearth::node
