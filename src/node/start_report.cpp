#include "node/start_report.hpp"

#include "node/json_fields.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <tuple>
#include <utility>

namespace hearth::node {

namespace {

using Json = nlohmann::json;

/// Which of the node's figures make up a phase.
struct Phase {
  const char* name;
  std::array<const char*, 3> parts;  // null: no more
};

/// In the order in which they pass. What is in none of them ("total") is told apart.
constexpr std::array<Phase, 5> kPhases = {{{"queue", {"queue", "record", nullptr}},
                                           {"mount", {"fetch", "mount", nullptr}},
                                           {"create", {"container", nullptr, nullptr}},
                                           {"start", {"runner", nullptr, nullptr}},
                                           {"load", {"import", "setup", nullptr}}}};

/// Reads that found their pages on the node's disks.
constexpr const char* kDiskTier = "disk";
constexpr std::array<const char*, 5> kSums = {"reads", "bytes", "ahead_bytes", "waits", "waited_us"};

uint64_t count_field(const Json& object, const char* key) {
  return static_cast<uint64_t>(std::max<int64_t>(integer_field(object, key), 0));
}

Json phases_of(const std::map<std::string, double>& took_ms) {
  Json phases = Json::array();
  for (const Phase& phase : kPhases) {
    Json parts = Json::object();
    double ms = 0;
    for (const char* part : phase.parts) {
      const auto found = part == nullptr ? took_ms.end() : took_ms.find(part);
      if (found == took_ms.end()) continue;
      parts[part] = found->second;
      ms += found->second;
    }
    if (!parts.empty()) phases.push_back({{"phase", phase.name}, {"ms", ms}, {"parts", std::move(parts)}});
  }
  return phases;
}

/// Sums over layers, by tier.
class Tiers {
 public:
  void add(const Json& trace) {
    add(kDiskTier, {{"reads", count_field(trace, "hits")}, {"bytes", count_field(trace, "hit_bytes")}});
    const Json* tiers = field(trace, "tiers");
    if (tiers == nullptr || !tiers->is_object()) return;
    for (const auto& [name, sums] : tiers->items()) {
      add(name, {{"reads", count_field(sums, "fetches")},
                 {"bytes", count_field(sums, "demand_bytes")},
                 {"ahead_bytes", count_field(sums, "prefetch_bytes")},
                 {"waits", count_field(sums, "waits")},
                 {"waited_us", count_field(sums, "waited_us")}});
    }
    const Json* bundle = field(trace, "bundle");
    if (bundle != nullptr && count_field(*bundle, "received_bytes") > 0) {
      add("bundle", {{"ahead_bytes", count_field(*bundle, "received_bytes")}});
    }
  }

  Json json() && { return std::move(tiers_); }

 private:
  void add(const std::string& name, const Json& sums) {
    Json& tier = tiers_[name];
    for (const char* sum : kSums) tier[sum] = count_field(tier, sum) + count_field(sums, sum);
  }

  Json tiers_ = Json::object();
};

/// Waits of reads, by file of a layer.
class Files {
 public:
  void add(const Json& trace, std::string_view layer) {
    const Json* reads = field(trace, "reads");
    if (reads == nullptr || !reads->is_array()) return;
    for (const Json& read : *reads) {
      File& file = files_[{std::string(layer), text_field(read, "path")}];
      const uint64_t waited = count_field(read, "wait_us");
      ++file.reads;
      file.bytes += count_field(read, "length");
      file.waited_us += waited;
      file.by_tier[text_field(read, "tier")] += waited;
    }
  }

  Json slowest() const {
    std::vector<std::pair<Key, File>> order(files_.begin(), files_.end());
    const auto longest_first = [](const auto& a, const auto& b) {
      return std::tie(b.second.waited_us, a.first) < std::tie(a.second.waited_us, b.first);
    };
    std::ranges::sort(order, longest_first);
    if (order.size() > kSlowestFiles) order.resize(kSlowestFiles);
    Json told = Json::array();
    for (const auto& [key, file] : order) {
      const auto tier = std::ranges::max_element(file.by_tier, {}, [](const auto& entry) { return entry.second; });
      told.push_back({{"layer", key.first},
                      {"path", key.second.empty() ? Json() : Json(key.second)},
                      {"reads", file.reads},
                      {"bytes", file.bytes},
                      {"waited_us", file.waited_us},
                      {"tier", tier->first}});
    }
    return told;
  }

 private:
  using Key = std::pair<std::string, std::string>;  // layer's role, path
  struct File {
    uint64_t reads = 0;
    uint64_t bytes = 0;
    uint64_t waited_us = 0;
    std::map<std::string, uint64_t> by_tier;  // waits, never empty
  };
  std::map<Key, File> files_;
};

Json layer_json(const LayerTrace& layer, const Json& trace) {
  Json out = {{"role", catalog::to_string(layer.layer.role)},
              {"digest", layer.layer.digest.to_string()},
              {"size", layer.layer.size}};
  if (!layer.trace) {
    out["error"] = layer.trace.error().message;
  } else {
    out["trace"] = trace;
  }
  return out;
}

}  // namespace

std::string start_report(const StartFacts& facts, const std::vector<LayerTrace>& layers) {
  Tiers tiers;
  Files files;
  Json listed = Json::array();
  for (const LayerTrace& layer : layers) {
    const Json trace = layer.trace ? Json::parse(*layer.trace, nullptr, false) : Json();
    tiers.add(trace);
    files.add(trace, catalog::to_string(layer.layer.role));
    listed.push_back(layer_json(layer, trace.is_discarded() ? Json() : trace));
  }
  const auto total = facts.took_ms.find("total");
  return to_text({{"node", facts.node},
                  {"model", facts.key.branch.model},
                  {"branch", facts.key.branch.branch},
                  {"version", facts.key.version},
                  {"state", facts.state},
                  {"began", facts.began ? Json(to_iso8601(*facts.began)) : Json()},
                  {"phases", phases_of(facts.took_ms)},
                  {"ready_ms", total == facts.took_ms.end() ? Json() : Json(total->second)},
                  {"tiers", std::move(tiers).json()},
                  {"slowest", files.slowest()},
                  {"layers", std::move(listed)}});
}

}  // namespace hearth::node
