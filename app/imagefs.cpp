// hearth imagefs: makes layers appear as folders.
#include "mount/imagefs.hpp"

#include "app/imagefs_options.hpp"
#include "app/role_settings.hpp"

#include <memory>

namespace hearth::app {

namespace {

void add_imagefs(CLI::App& parent) {
  auto config = std::make_shared<mount::Config>();
  CLI::App* command = parent.add_subcommand("imagefs", "Make images appear as folders")->group(kRoleCommands);
  command->add_option("--socket", config->socket, "Unix socket to listen on");
  command->add_option("--dir", config->dir, "Folder for its own data");
  command->add_option("--store", config->store, "Object store: a folder or URL");
  command->add_option("--holder", config->holder, "Socket of the holder, which keeps mounts over restarts");
  add_imagefs_options(*command, *config);
  const RoleSettings settings = RoleSettings(*command, "imagefs").require({"socket", "dir", "store"});
  on_run(*command, [config, settings] {
    settings.apply();
    begin_role("imagefs");
    const auto served = mount::serve(*config);
    return served ? kDone : report(served.error());
  });
}

const Registration kRegistered("imagefs", add_imagefs);

}  // namespace

}  // namespace hearth::app
