// hearth trace cold-start MODEL: where the time of its last start went.
#include "app/remote.hpp"
#include "base/quantity.hpp"

#include <algorithm>
#include <array>

namespace hearth::app {

namespace {

using nlohmann::json;

struct Options {
  Remote remote;
  std::string model;
  std::optional<std::string> branch;
  std::optional<int> version;
};

/// What a tier is, in the order in which they are asked. Tiers of other names come after them.
struct Tier {
  const char* name;
  const char* what;
};
constexpr std::array<Tier, 5> kTiers = {{{"disk", "this node's disks"},
                                         {"bundle", "streamed ahead: what earlier starts read"},
                                         {"ahead", "was on its way for others"},
                                         {"mirror", "HTTP cache in front of the store"},
                                         {"store", "object store"}}};

std::string ms_text(double ms) {
  char text[32];
  std::snprintf(text, sizeof text, ms < 100 ? "%.1f ms" : "%.0f ms", ms);
  return text;
}

std::string count_text(const json& object, const char* name) {
  const double count = number_of(object, name);
  return count > 0 ? std::to_string(static_cast<uint64_t>(count)) : "-";
}

std::string bytes_text(const json& object, const char* name) {
  const double bytes = number_of(object, name);
  return bytes > 0 ? format_bytes(static_cast<uint64_t>(bytes)) : "-";
}

std::string wait_text(const json& object) {
  const double us = number_of(object, "waited_us");
  return us > 0 ? ms_text(us / 1000) : "-";
}

void print_phases(const json& report) {
  const json phases = report.value("phases", json::array());
  if (phases.empty()) {
    std::printf("Its phases are not known: it was started by an earlier node process.\n");
    return;
  }
  std::vector<std::vector<std::string>> rows = {{"PHASE", "TIME", "OF IT"}};
  for (const json& phase : phases) {
    std::string parts;
    for (const auto& [name, ms] : phase.value("parts", json::object()).items()) {
      if (ms.is_number()) parts += (parts.empty() ? "" : ", ") + name + " " + ms_text(ms.get<double>());
    }
    rows.push_back({text_of(phase, "phase"), ms_text(number_of(phase, "ms")), parts});
  }
  const json ready = report.value("ready_ms", json());
  rows.push_back({"ready", ready.is_number() ? ms_text(ready.get<double>()) : "-", "from wanted to ready"});
  print_table(rows);
}

void print_tiers(const json& tiers) {
  std::vector<std::vector<std::string>> rows = {{"TIER", "READS", "READ", "AHEAD", "WAITS", "WAITED", ""}};
  const auto add = [&rows](const std::string& name, const json& tier, const char* what) {
    rows.push_back({name, count_text(tier, "reads"), bytes_text(tier, "bytes"), bytes_text(tier, "ahead_bytes"),
                    count_text(tier, "waits"), wait_text(tier), what});
  };
  for (const Tier& tier : kTiers) {
    if (tiers.contains(tier.name)) add(tier.name, tiers[tier.name], tier.what);
  }
  for (const auto& [name, tier] : tiers.items()) {
    if (std::ranges::none_of(kTiers, [&name](const Tier& known) { return name == known.name; })) add(name, tier, "");
  }
  print_table(rows);
}

void print_slowest(const json& files) {
  std::vector<std::vector<std::string>> rows = {{"WAITED", "READS", "READ", "TIER", "LAYER", "FILE"}};
  for (const json& file : files) {
    const std::string path = text_of(file, "path");
    rows.push_back({wait_text(file), count_text(file, "reads"), bytes_text(file, "bytes"), text_of(file, "tier"),
                    text_of(file, "layer"), path.empty() ? "(no file)" : path});
  }
  print_table(rows);
}

void print(const json& report) {
  const std::string began = text_of(report, "began");
  std::printf("%s/%s version %s on node %s%s\n\n", text_of(report, "model").c_str(), text_of(report, "branch").c_str(),
              report.value("version", json()).dump().c_str(), text_of(report, "node").c_str(),
              began.empty() ? "" : (", started " + began.substr(0, 19) + "Z").c_str());
  print_phases(report);
  std::printf("\n");
  const json tiers = report.value("tiers", json::object());
  if (!tiers.empty()) print_tiers(tiers);
  const json slowest = report.value("slowest", json::array());
  if (!slowest.empty()) {
    std::printf("\n");
    print_slowest(slowest);
  } else {
    std::printf("No read waited.\n");
  }
  for (const json& layer : report.value("layers", json::array())) {
    const std::string error = text_of(layer, "error");
    if (!error.empty()) std::printf("%s layer: %s\n", text_of(layer, "role").c_str(), error.c_str());
  }
}

Result<> trace_cold_start(const Options& options) {
  TRY(auto api, options.remote.open());
  std::string path = "/api/v1/models/" + client::url_escape(options.model) + "/cold-start";
  const char* separator = "?";
  if (options.branch) {
    path += separator + ("branch=" + client::url_escape(*options.branch));
    separator = "&";
  }
  if (options.version) path += separator + ("version=" + std::to_string(*options.version));
  TRY(auto body, api.get(path));
  TRY(auto report, parse_reply(body));
  if (options.remote.json) {
    std::printf("%s\n", body.c_str());
  } else {
    print(report);
  }
  return {};
}

void add_trace(CLI::App& parent) {
  auto options = std::make_shared<Options>();
  CLI::App* trace = parent.add_subcommand("trace", "Show where time went: cold-start")->group(kModelCommands);
  trace->require_subcommand(1);
  CLI::App* start =
      trace->add_subcommand("cold-start", "The last start of a model: its phases, and what its reads waited for");
  start->add_option("model", options->model, "Model")->required();
  start->add_option("--branch", options->branch, "Branch [main]");
  start->add_option("--version", options->version, "Version [the one started last]")->check(CLI::PositiveNumber);
  start->footer(
      "Tiers: what reads of the image found on this node's disks, and what was fetched for them or ahead of them. "
      "Reads\n"
      "that the kernel's page cache answers are seen by nobody. Parallel waits count each.");
  add_remote_options(*start, options->remote);
  on_run(*start, [options] { return finish(trace_cold_start(*options)); });
}

const Registration kRegistered("trace", add_trace);

}  // namespace

}  // namespace hearth::app
