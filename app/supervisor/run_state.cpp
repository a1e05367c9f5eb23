#include "supervisor/run_state.hpp"

#include "base/file.hpp"

#include <nlohmann/json.hpp>

namespace hearth::supervisor {

namespace {

std::string boot_id() {
  return read_file("/proc/sys/kernel/random/boot_id").value_or("");
}

}  // namespace

std::string run_state_to_json(const RunState& state) {
  nlohmann::json processes = nlohmann::json::array();
  for (const ProcessState& process : state.processes) {
    processes.push_back({{"role", process.role},
                         {"pid", process.pid},
                         {"start_time", process.start_time},
                         {"restarts", process.restarts},
                         {"started_us", process.started_us}});
  }
  const nlohmann::json json = {{"pid", state.pid},     {"start_time", state.start_time},   {"boot_id", boot_id()},
                               {"url", state.url},     {"data_dir", state.data_dir},       {"store", state.store},
                               {"ready", state.ready}, {"processes", std::move(processes)}};
  return json.dump();
}

Result<RunState> run_state_from_json(std::string_view text) {
  const auto json = nlohmann::json::parse(text, nullptr, false);
  try {
    if (json.at("boot_id") != boot_id()) return fail(ErrorCode::not_found, "written before the machine was booted");
    RunState state{.pid = json.at("pid"),
                   .start_time = json.at("start_time"),
                   .url = json.at("url"),
                   .data_dir = json.at("data_dir"),
                   .store = json.at("store"),
                   .ready = json.at("ready"),
                   .processes = {}};
    for (const auto& process : json.at("processes")) {
      state.processes.push_back({.role = process.at("role"),
                                 .pid = process.at("pid"),
                                 .start_time = process.at("start_time"),
                                 .restarts = process.at("restarts"),
                                 .started_us = process.at("started_us")});
    }
    return state;
  } catch (const nlohmann::json::exception& error) {
    return fail(ErrorCode::corrupt, std::string("not a supervisor's state: ") + error.what());
  }
}

Result<RunState> read_run_state(const std::filesystem::path& path) {
  TRY(const std::string text, read_file(path, 1 << 20));
  return run_state_from_json(text);
}

Result<> write_run_state(const std::filesystem::path& path, const RunState& state) {
  return write_file_atomic(path, run_state_to_json(state) + "\n", 0644);
}

}  // namespace hearth::supervisor
