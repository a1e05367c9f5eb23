// hearth router: takes requests. The request path and the admin API, joined in one process.
#include "router/router.hpp"

#include "app/role_settings.hpp"
#include "control/control_api.hpp"

#include <memory>
#include <utility>

namespace hearth::app {

namespace {

/// What the admin API needs, from what the router offers.
class RouterHost final : public control::Host {
 public:
  explicit RouterHost(router::Services& services) : services_(services) {}

  net::EventLoop& loop() override { return services_.loop(); }
  net::BlockingPool& pool() override { return services_.pool(); }
  std::shared_ptr<blob::ObjectStore> store() override { return services_.store(); }
  std::shared_ptr<const catalog::Snapshot> snapshot() override { return services_.snapshot(); }
  void refresh_catalog(net::Job done) override { services_.refresh_catalog(std::move(done)); }
  void call_node(control::NodeCall call) override {
    services_.call_node({.method = std::move(call.method),
                         .params = std::move(call.params),
                         .progress = std::move(call.progress),
                         .done = std::move(call.done),
                         .deadline = call.deadline});
  }
  bool node_connected() override { return services_.node_connected(); }
  void warm(const catalog::BranchRef& branch, uint32_t version) override { services_.warm(branch, version); }
  std::string public_url() override { return services_.config().url; }
  std::filesystem::path spool() override { return router::spool_of(services_.config()); }

 private:
  router::Services& services_;
};

/// The admin API with its host, as one thing that handles requests.
struct Admin {
  explicit Admin(router::Services& services) : host(services), api(host) {}
  RouterHost host;
  control::ControlApi api;
};

router::AdminHandler make_admin(router::Services& services) {
  const auto admin = std::make_shared<Admin>(services);
  return
      [admin](net::HttpRequest&& request, std::shared_ptr<net::HttpExchange> exchange, const router::Caller& caller) {
        admin->api.handle(std::move(request), std::move(exchange),
                          {.workspace = caller.workspace, .key_id = caller.key_id});
      };
}

void add_router(CLI::App& parent) {
  auto config = std::make_shared<router::Config>();
  auto directory = std::make_shared<std::string>();
  CLI::App* command = parent.add_subcommand("router", "Take requests over HTTP")->group(kRoleCommands);
  command->add_option("--listen", config->listen, "HOST:PORT to serve");
  command->add_option("--listen-fd", config->listen_fd, "Serve this already listening socket instead");
  command->add_option("--store", config->store, "Object store: a folder or URL");
  command->add_option("--redis", config->redis, "Socket of the fleet's Redis");
  command->add_option("--node", config->nodes, "Socket of a node");
  command->add_option("--dir", *directory, "Folder for logs and usage on their way to the store");
  command->add_option("--url", config->url, "URL under which clients reach this router");
  command->add_option("--body-limit", config->body_limit_bytes, "Largest request body, in bytes")
      ->capture_default_str();
  const RoleSettings settings = RoleSettings(*command, "router").require({"store", "dir"});
  on_run(*command, [config, directory, settings] {
    settings.apply();
    if (config->listen_fd < 0 && config->listen.empty()) throw CLI::RequiredError("--listen or --listen-fd");
    config->directory = *directory;
    begin_role("router");
    const auto served = router::run(*config, make_admin);
    return served ? kDone : report(served.error());
  });
}

const Registration kRegistered("router", add_router);

}  // namespace

}  // namespace hearth::app
