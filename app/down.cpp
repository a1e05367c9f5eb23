// hearth down: stops everything that `hearth up` started on a data folder.
#include "app/default_data_dir.hpp"
#include "app/subcommand.hpp"
#include "base/log.hpp"
#include "supervisor/control.hpp"
#include "supervisor/group_copy.hpp"
#include "supervisor/machine.hpp"
#include "supervisor/shutdown.hpp"

#include <nlohmann/json.hpp>

#include <unistd.h>

#include <cstdio>
#include <memory>
#include <thread>
#include <vector>

namespace hearth::app {

namespace {

struct DownOptions {
  std::string data_dir;
  bool json = false;
};

using supervisor::Holder;

/// The supervisor is gone: what it left running is stopped here. The caller holds its lock.
Result<Holder> stop_without_supervisor(const supervisor::Layout& layout,
                                       const std::function<void(const std::string&)>& on_stopped) {
  const auto state = supervisor::read_run_state(layout.state()).value_or(supervisor::RunState{});
  if (supervisor::find_lost_group(state)) {
    return fail(ErrorCode::unavailable,
                "the holder was killed while images were mounted: run 'hearth up', which repairs that, and then "
                "'hearth down'");
  }
  return supervisor::stop_all(layout, state, supervisor::still_running(state), on_stopped);
}

Result<Holder> stop(const supervisor::Layout& layout, const std::function<void(const std::string&)>& on_stopped) {
  std::error_code error;
  if (!std::filesystem::exists(layout.run, error)) return Holder::gone;
  for (;;) {
    const auto lock = supervisor::take_lock(layout);
    if (lock) return stop_without_supervisor(layout, on_stopped);
    if (lock.error().code == ErrorCode::not_found) return Holder::gone;  // it has just removed its run folder
    if (lock.error().code != ErrorCode::already_exists) return Unexpected(lock.error());
    const auto asked = supervisor::ask_to_stop(layout.socket("supervisor"), on_stopped);
    // It answers only once it supervises, and a moment passes between its last word and its end.
    std::this_thread::sleep_for(milliseconds(asked ? 5 : 50));
  }
}

int down(const DownOptions& options) {
  log_configure("down", LogLevel::warning);
  if (::geteuid() != 0)
    return report({ErrorCode::denied, "'hearth down' needs root, like 'hearth up': run it with sudo"});
  const supervisor::Layout layout = supervisor::locate(options.data_dir);
  std::vector<std::string> stopped;
  const auto done = stop(layout, [&options, &stopped](const std::string& role) {
    stopped.push_back(role);
    if (!options.json) std::printf("stopped %s\n", role.c_str());
    std::fflush(stdout);
  });
  if (!done) return report(done.error());
  if (*done == Holder::stays) return report({ErrorCode::unavailable, supervisor::kHolderStays});
  if (options.json) {
    std::printf("%s\n", nlohmann::json({{"stopped", stopped}, {"data_dir", layout.data}}).dump().c_str());
  } else if (stopped.empty()) {
    std::printf("nothing runs on %s\n", layout.data.c_str());
  }
  return kDone;
}

void add_down(CLI::App& parent) {
  auto options = std::make_shared<DownOptions>();
  CLI::App* command = parent.add_subcommand("down", "Stop what 'hearth up' runs")->group(kServerCommands);
  command->add_option("--data-dir", options->data_dir, "Its data folder [the one of this user's last 'hearth up']");
  command->add_flag("--json", options->json, "Print one JSON line at the end");
  on_run(*command, [options] {
    if (options->data_dir.empty()) options->data_dir = known_data_dir();
    return down(*options);
  });
}

const Registration kRegistered("down", add_down);

}  // namespace

}  // namespace hearth::app
