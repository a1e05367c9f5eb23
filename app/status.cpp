// hearth status: what runs on this machine.
#include "app/default_data_dir.hpp"
#include "app/remote.hpp"
#include "app/subcommand.hpp"
#include "base/log.hpp"
#include "base/quantity.hpp"
#include "client/endpoint.hpp"
#include "supervisor/layout.hpp"
#include "supervisor/node_status.hpp"
#include "supervisor/run_state.hpp"
#include "supervisor/watched_process.hpp"

#include <nlohmann/json.hpp>

#include <cstdio>
#include <memory>

namespace hearth::app {

namespace {

constexpr Duration kNodeTime = seconds(5);

struct StatusOptions {
  std::string data_dir;
  Remote remote;
};

double uptime_s(int64_t started_us) {
  constexpr double kMicroseconds = 1e6;
  return static_cast<double>(to_unix_us(wall_now()) - started_us) / kMicroseconds;
}

nlohmann::json processes_of(const supervisor::RunState& state) {
  nlohmann::json processes = nlohmann::json::array();
  for (const supervisor::ProcessState& process : state.processes) {
    if (!supervisor::WatchedProcess::find(process.pid, process.start_time)) continue;
    processes.push_back({{"role", process.role},
                         {"pid", process.pid},
                         {"uptime_s", uptime_s(process.started_us)},
                         {"restarts", process.restarts}});
  }
  return processes;
}

/// Through the public API: with the key of the data folder, else as every client command finds it.
Result<nlohmann::json> ask_router(const StatusOptions& options, const supervisor::Layout& layout) {
  const auto ask = [](client::ApiClient api) -> Result<nlohmann::json> {
    TRY(const std::string body, api.get("/api/v1/status"));
    return parse_reply(body);
  };
  const auto context = client::read_context(layout.context());
  if (!options.remote.url && context && !context->key.empty()) {
    return ask(client::ApiClient({context->url, options.remote.key.value_or(context->key), ""}));
  }
  TRY(auto api, options.remote.open());
  return ask(std::move(api));
}

Result<nlohmann::json> replicas_of(const StatusOptions& options, const supervisor::Layout& layout) {
  auto answer = ask_router(options, layout);
  if (!answer) {
    const auto direct = supervisor::node_status(layout.socket("node"), Deadline::after(mono_now(), kNodeTime));
    if (!direct) return answer;
    answer = parse_reply(*direct);
  }
  if (!answer) return answer;
  if (!answer->is_object() || !answer->contains("replicas")) return fail(ErrorCode::corrupt, "no list of replicas");
  return (*answer)["replicas"];
}

std::string number_of(const nlohmann::json& object, const char* name) {
  return object.contains(name) && object[name].is_number() ? object[name].dump() : "-";
}

void print(const nlohmann::json& processes, const nlohmann::json& replicas) {
  std::vector<std::vector<std::string>> rows = {{"ROLE", "PID", "UPTIME", "RESTARTS"}};
  for (const auto& process : processes) {
    const seconds uptime(static_cast<int64_t>(process["uptime_s"].get<double>()));
    rows.push_back(
        {text_of(process, "role"), number_of(process, "pid"), format_duration(uptime), number_of(process, "restarts")});
  }
  if (!processes.empty()) print_table(rows);
  if (replicas.empty()) return;
  if (!processes.empty()) std::printf("\n");
  rows = {{"MODEL", "BRANCH", "VERSION", "STATE", "PID", "BUSY", "SLOTS"}};
  for (const auto& replica : replicas) {
    rows.push_back({text_of(replica, "model"), text_of(replica, "branch"), number_of(replica, "version"),
                    text_of(replica, "state"), number_of(replica, "pid"), number_of(replica, "busy"),
                    number_of(replica, "slots")});
  }
  print_table(rows);
}

int status(const StatusOptions& options) {
  log_configure("status", LogLevel::warning);
  const supervisor::Layout layout = supervisor::locate(options.data_dir.empty() ? known_data_dir() : options.data_dir);
  const auto state = supervisor::read_run_state(layout.state());
  const nlohmann::json processes = state ? processes_of(*state) : nlohmann::json::array();
  // A folder that was named means its machine; without one a server elsewhere may be meant.
  auto replicas = Result<nlohmann::json>(nlohmann::json::array());
  if (!processes.empty() || options.data_dir.empty()) replicas = replicas_of(options, layout);
  if (processes.empty() && (!replicas || !options.data_dir.empty())) {
    return report({ErrorCode::unavailable, "nothing runs on " + layout.data.string() +
                                               ": start it with 'hearth up --data-dir " + layout.data.string() + "'"});
  }
  if (!replicas) std::fprintf(stderr, "hearth: replicas unknown: %s\n", replicas.error().message.c_str());
  const nlohmann::json list = replicas ? *replicas : nlohmann::json::array();
  if (options.remote.json) {
    nlohmann::ordered_json out = {{"processes", processes}, {"replicas", list}};
    if (state) out.update({{"url", state->url}, {"data_dir", state->data_dir}, {"pid", state->pid}});
    std::printf("%s\n", out.dump().c_str());
  } else {
    print(processes, list);
  }
  return kDone;
}

void add_status(CLI::App& parent) {
  auto options = std::make_shared<StatusOptions>();
  CLI::App* command = parent.add_subcommand("status", "Show processes and replicas")->group(kServerCommands);
  command->add_option("--data-dir", options->data_dir, "Its data folder [the one of this user's last 'hearth up']");
  add_remote_options(*command, options->remote);
  on_run(*command, [options] { return status(*options); });
}

const Registration kRegistered("status", add_status);

}  // namespace

}  // namespace hearth::app
