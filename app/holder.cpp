// hearth holder: keeps descriptors and children for node and imagefs.
#include "app/role_settings.hpp"
#include "holder/server.hpp"

#include <charconv>
#include <memory>

namespace hearth::app {

namespace {

/// "PID:START": what distinguishes a process from a later one of the same pid.
holder::Child read_process(const std::string& text) {
  holder::Child process;
  const char* end = text.data() + text.size();
  const auto pid = std::from_chars(text.data(), end, process.pid);
  const bool more = pid.ec == std::errc() && pid.ptr != end && *pid.ptr == ':';
  const auto start = more ? std::from_chars(pid.ptr + 1, end, process.start_time) : pid;
  if (more && start.ec == std::errc() && start.ptr == end) return process;
  throw CLI::ValidationError("--predecessor", "'" + text + "' is not PID:START");
}

void add_holder(CLI::App& parent) {
  auto config = std::make_shared<holder::Config>();
  CLI::App* command = parent.add_subcommand("holder", "Keep descriptors and child processes")->group(kRoleCommands);
  auto predecessor = std::make_shared<std::string>();
  command->add_option("--socket", config->socket, "Unix socket to listen on");
  command->add_option("--group-fd", config->group_fd, "Inherited descriptor: reads that an earlier holder relayed");
  command->add_option("--predecessor", *predecessor, "That holder, as PID:START (field 22 of /proc/PID/stat)");
  const RoleSettings settings = RoleSettings(*command, "holder").require({"socket"});
  on_run(*command, [config, predecessor, settings] {
    settings.apply();
    if (!predecessor->empty()) config->predecessor = read_process(*predecessor);
    begin_role("holder");
    const auto served = holder::serve(*config);
    return served ? kDone : report(served.error());
  });
}

const Registration kRegistered("holder", add_holder);

}  // namespace

}  // namespace hearth::app
