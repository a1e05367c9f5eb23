#include "supervisor/role.hpp"

#include "base/file.hpp"
#include "base/log.hpp"
#include "supervisor/ready_probe.hpp"
#include "supervisor/role_environment.hpp"

#include <fcntl.h>

#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace hearth::supervisor {

namespace {

constexpr int kStoreFd = 4;  // in the router
constexpr int kSpoolFd = 5;
constexpr int kCredentialsFd = 6;  // and the next ones

/// Ourselves in another role: the same file also when it was replaced on disk meanwhile.
LaunchOptions own_program(const RoleOptions& options, const std::string& role, std::vector<std::string> args) {
  args.insert(args.begin(), {"hearth", role});
  return {.program = "/proc/self/exe", .args = std::move(args), .log = options.layout.log(role), .user = {}, .fds = {}};
}

bool is_remote(const std::string& store) {
  return store.find("://") != std::string::npos;
}

/// Who uses the store gets its credentials: the same as ours, if it has our rights.
std::optional<std::vector<std::string>> environment_of_store_user(const RoleOptions& options) {
  if (is_remote(options.store)) return std::nullopt;
  return environment_without_store();
}

Role redis(const RoleOptions& options) {
  const std::filesystem::path folder = options.layout.run / "redis";
  const std::filesystem::path socket = folder / "redis.sock";
  Role role{.name = "redis", .launch = {}, .ready = {}, .folders = {}};
  role.launch = {.program = options.redis_program,
                 .args = {"redis-server",
                          "--port",
                          "0",
                          "--unixsocket",
                          socket,
                          "--unixsocketperm",
                          "770",
                          "--save",
                          "",
                          "--appendonly",
                          "no",
                          "--dir",
                          folder,
                          "--daemonize",
                          "no",
                          "--logfile",
                          "",
                          "--maxmemory",
                          "256mb",
                          "--maxmemory-policy",
                          "volatile-ttl"},
                 .log = options.layout.log("redis"),
                 .user = Unprivileged{options.users.redis(), options.users.group()},
                 .fds = {}};
  role.launch.environment = environment_without_store();
  role.ready = [socket] { return socket_answers(socket, SocketKind::stream); };
  return role;
}

Role holder(const RoleOptions& options) {
  const std::filesystem::path socket = options.layout.socket("holder");
  Role role{
      .name = "holder", .launch = own_program(options, "holder", {"--socket", socket}), .ready = {}, .folders = {}};
  role.launch.environment = environment_without_store();
  role.ready = [socket] { return socket_answers(socket, SocketKind::seqpacket); };
  return role;
}

Role imagefs(const RoleOptions& options) {
  const std::filesystem::path socket = options.layout.socket("imagefs");
  Role role{.name = "imagefs", .launch = {}, .ready = {}, .folders = {}};
  std::vector<std::string> args = {"--socket", socket,        "--dir",    options.layout.data / "imagefs",
                                   "--store",  options.store, "--holder", options.layout.socket("holder")};
  args.insert(args.end(), options.imagefs_args.begin(), options.imagefs_args.end());
  role.launch = own_program(options, "imagefs", std::move(args));
  role.launch.environment = environment_of_store_user(options);
  role.ready = [socket] { return socket_answers(socket, SocketKind::seqpacket); };
  return role;
}

Role node(const RoleOptions& options) {
  const Layout& layout = options.layout;
  const std::filesystem::path socket = layout.socket("node");
  Role role{.name = "node", .launch = {}, .ready = {}, .stop_time = seconds(30), .folders = {}};
  role.launch =
      own_program(options, "node",
                  {"--socket", socket, "--run-dir", layout.run, "--dir", layout.data / "node", "--store", options.store,
                   "--redis", layout.socket("redis"), "--holder", layout.socket("holder"), "--imagefs",
                   layout.socket("imagefs"), "--router-gid", std::to_string(options.users.group())});
  role.launch.environment = environment_of_store_user(options);
  role.ready = [socket] { return socket_answers(socket, SocketKind::stream); };
  return role;
}

/// A folder as the router can open it. The way to a data folder may be closed to other users (mktemp -d makes such);
/// then a descriptor, opened by us, leads there.
std::string reachable(Role& role, const Users& users, const std::string& folder, int target) {
  if (is_remote(folder) || can_traverse(folder, users.router, users.group())) return folder;
  auto fd = open_file(folder, O_PATH | O_DIRECTORY);
  if (!fd) return folder;
  role.launch.fds.emplace_back(fd->get(), target);
  role.folders.push_back(std::move(*fd));
  return "/proc/self/fd/" + std::to_string(target);
}

/// The router cannot read what only root can: at each start it gets copies of what there is then.
void give_credentials(Role& role, const RoleOptions& options) {
  role.launch.environment = environment_of_store_user(options);
  if (role.launch.environment) return;
  role.prepare = [copies = std::make_shared<std::vector<std::pair<UniqueFd, int>>>()](LaunchOptions& launch) {
    auto environment = environment_for(*launch.user, kCredentialsFd);
    if (!environment) {
      log_error("no credentials for the router", {{"error", environment.error().message}});
      return;
    }
    launch.environment = std::move(environment->variables);
    *copies = std::move(environment->fds);  // open until the next start
    for (const auto& [fd, number] : *copies) launch.fds.emplace_back(fd.get(), number);
  };
}

Role router(const RoleOptions& options) {
  const Layout& layout = options.layout;
  Role role{.name = "router", .launch = {}, .ready = {}, .stop_time = seconds(35), .folders = {}};
  role.launch = own_program(options, "router", {});
  role.launch.fds = {{options.listener, kRouterListenerFd}};
  const std::string store = reachable(role, options.users, options.store, kStoreFd);
  const std::string spool = reachable(role, options.users, layout.data / "router", kSpoolFd);
  for (const std::string& arg :
       {std::string("--listen-fd"), std::to_string(kRouterListenerFd), std::string("--store"), store,
        std::string("--dir"), spool, std::string("--redis"), layout.socket("redis").string(), std::string("--node"),
        layout.socket("node").string(), std::string("--url"), options.url}) {
    role.launch.args.push_back(arg);
  }
  role.launch.user = Unprivileged{options.users.router, options.users.group()};
  give_credentials(role, options);
  role.ready = [url = options.url] { return http_ok(url, "/readyz"); };
  return role;
}

}  // namespace

std::vector<Role> machine_roles(const RoleOptions& options) {
  std::vector<Role> roles;
  roles.push_back(redis(options));
  roles.push_back(holder(options));
  roles.push_back(imagefs(options));
  roles.push_back(node(options));
  roles.push_back(router(options));
  return roles;
}

}  // namespace hearth::supervisor
