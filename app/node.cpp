// hearth node: runs replicas on this machine.
#include "app/duration_flag.hpp"
#include "app/role_settings.hpp"
#include "node/run.hpp"

#include <memory>

namespace hearth::app {

namespace {

struct CollectionFlags {
  std::string every = "1d";
  std::string grace = "1h";
};

void add_node(CLI::App& parent) {
  auto config = std::make_shared<node::Config>();
  CLI::App* command = parent.add_subcommand("node", "Run replicas on this machine")->group(kRoleCommands);
  command->add_option("--socket", config->socket, "Unix socket for routers");
  command->add_option("--run-dir", config->run_dir, "Folder for what is gone after a reboot (tmpfs)");
  command->add_option("--dir", config->dir, "Folder for what the node learns");
  command->add_option("--store", config->store, "Object store: a folder or URL");
  command->add_option("--holder", config->holder, "Socket of the holder");
  command->add_option("--imagefs", config->imagefs, "Socket of imagefs");
  command->add_option("--redis", config->redis, "Redis to announce to: a socket or HOST:PORT");
  command->add_option("--runtime", config->runtime, "OCI runtime: a name or path")->capture_default_str();
  command->add_option("--id-base", config->id_base, "First of 65536 host ids for replicas")->capture_default_str();
  command->add_option("--node-id", config->node_id, "Name of this node [the host's name]");
  command->add_option("--runner-dir", config->runner_dir, "Folder of the Python runner [beside the program]");
  command->add_option("--router-gid", config->router_gid, "Group that may connect to the socket");
  command->add_option("--starts", config->start_permits, "Replicas started at once")->capture_default_str();
  auto collection = std::make_shared<CollectionFlags>();
  command->add_option("--gc-every", collection->every, "Between garbage collections of the object store; 0: none")
      ->capture_default_str();
  command->add_option("--gc-grace", collection->grace, "How long garbage lies condemned before it goes")
      ->capture_default_str();
  command->add_flag("--keep-replicas", config->keep_replicas, "SIGTERM leaves the replicas running");
  const RoleSettings settings =
      RoleSettings(*command, "node").require({"socket", "run-dir", "dir", "store", "holder", "imagefs"});
  on_run(*command, [config, collection, settings] {
    settings.apply();
    config->gc_every = duration_of(collection->every, "--gc-every");
    config->gc_grace = duration_of(collection->grace, "--gc-grace");
    begin_role("node");
    const auto served = node::run(*config);
    return served ? kDone : report(served.error());
  });
}

const Registration kRegistered("node", add_node);

}  // namespace

}  // namespace hearth::app
