// hearth holder: keeps descriptors and children for node and imagefs.
#include "app/role_settings.hpp"
#include "holder/server.hpp"

#include <memory>

namespace hearth::app {

namespace {

void add_holder(CLI::App& parent) {
  auto config = std::make_shared<holder::Config>();
  CLI::App* command = parent.add_subcommand("holder", "Keep descriptors and child processes")->group(kRoleCommands);
  command->add_option("--socket", config->socket, "Unix socket to listen on");
  const RoleSettings settings = RoleSettings(*command, "holder").require({"socket"});
  on_run(*command, [config, settings] {
    settings.apply();
    begin_role("holder");
    const auto served = holder::serve(*config);
    return served ? kDone : report(served.error());
  });
}

const Registration kRegistered("holder", add_holder);

}  // namespace

}  // namespace hearth::app
