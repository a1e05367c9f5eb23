// RUN/supervisor.json: what runs, so that the next supervisor can adopt it and `hearth status` can show it.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace hearth::supervisor {

struct ProcessState {
  std::string role;
  pid_t pid = -1;
  uint64_t start_time = 0;
  int restarts = 0;
  int64_t started_us = 0;  // since 1970
};

struct RunState {
  pid_t pid = -1;  // of the supervisor
  uint64_t start_time = 0;
  std::string url;
  std::string data_dir;
  std::string store;
  bool ready = false;                   // has served once
  std::vector<ProcessState> processes;  // in the order in which they are started
};

/// not_found when nothing was ever started, or the machine has been booted since.
Result<RunState> read_run_state(const std::filesystem::path& path);
Result<> write_run_state(const std::filesystem::path& path, const RunState& state);

std::string run_state_to_json(const RunState& state);
Result<RunState> run_state_from_json(std::string_view text);

}  // namespace hearth::supervisor
