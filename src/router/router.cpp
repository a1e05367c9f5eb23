#include "router/router.hpp"

#include "base/metrics.hpp"
#include "fleet/fleet_watcher.hpp"
#include "net/listen.hpp"
#include "router/catalog_cache.hpp"
#include "router/dispatcher.hpp"
#include "router/inference_api.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <csignal>
#include <utility>

namespace hearth::router {
namespace {

constexpr size_t kPoolThreads = 4;
constexpr Duration kMetricsPatience = seconds(2);

}  // namespace

struct Router::State final : Services {
  State(net::EventLoop& event_loop, Config its_config, std::shared_ptr<blob::ObjectStore> object_store)
      : loop_(event_loop),
        config_(std::move(its_config)),
        store_(std::move(object_store)),
        pool_(event_loop, kPoolThreads),
        catalog_(event_loop, pool_, store_),
        dispatcher_(event_loop, config_, metrics_,
                    [this](PendingRequest& request, Answer* answer) { inference_.finished(request, answer); }),
        inference_(config_, catalog_, dispatcher_, metrics_) {}

  ~State() override {
    server_.reset();
    catalog_.stop();
    dispatcher_.stop();
  }

  net::EventLoop& loop() override { return loop_; }
  net::BlockingPool& pool() override { return pool_; }
  std::shared_ptr<blob::ObjectStore> store() override { return store_; }
  std::shared_ptr<const catalog::Snapshot> snapshot() override { return catalog_.snapshot(); }
  void refresh_catalog(net::Job done) override { catalog_.refresh(std::move(done)); }
  void call_node(NodeCall call) override { dispatcher_.node().call(std::move(call)); }
  bool node_connected() override { return dispatcher_.node().is_up(); }
  const Config& config() override { return config_; }
  void warm(const catalog::BranchRef& branch, uint32_t version) override {
    const auto known = catalog_.snapshot();
    if (!known) return;
    if (const auto resolved = known->resolve(branch, std::to_string(version))) {
      dispatcher_.warm(dispatcher_.target_of(resolved->record));
    }
  }

  void begin();
  void snapshot_changed();
  void follow_fleet(const fleet::FleetWatcher::Nodes& nodes);
  void handle(net::HttpRequest&& request, std::shared_ptr<net::HttpExchange> exchange);
  void handle_admin(net::HttpRequest&& request, std::shared_ptr<net::HttpExchange> exchange, Try attempt);
  bool handle_health(const net::HttpRequest& request, const std::shared_ptr<net::HttpExchange>& exchange);
  void answer_metrics(const std::shared_ptr<net::HttpExchange>& exchange);
  std::string unready_reason() const;
  std::string health_json(const std::string& unready) const;
  std::string metrics_text();

  net::EventLoop& loop_;
  const Config config_;
  std::shared_ptr<blob::ObjectStore> store_;
  net::BlockingPool pool_;
  MetricRegistry metrics_;
  CatalogCache catalog_;
  Dispatcher dispatcher_;
  InferenceApi inference_;
  std::unique_ptr<fleet::FleetWatcher> fleet_;
  AdminHandler admin_;
  std::unique_ptr<net::HttpServer> server_;
  std::string address_;
};

void Router::State::begin() {
  catalog_.start(config_.catalog_refresh, [this] { snapshot_changed(); });
  dispatcher_.start();
  if (!config_.nodes.empty() || config_.redis.empty()) return;
  fleet_ =
      std::make_unique<fleet::FleetWatcher>(loop_, redis::RedisOptions{.address = config_.redis},
                                            [this](const fleet::FleetWatcher::Nodes& nodes) { follow_fleet(nodes); });
}

/// Without a node named at start: the first of the fleet that can be reached from here.
void Router::State::follow_fleet(const fleet::FleetWatcher::Nodes& nodes) {
  for (const auto& [id, node] : nodes) {
    if (node.address.starts_with('/')) return dispatcher_.node().set_socket(node.address);
  }
}

void Router::State::snapshot_changed() {
  inference_.snapshot_changed();
  dispatcher_.forget_removed(*catalog_.snapshot());
}

void Router::State::handle(net::HttpRequest&& request, std::shared_ptr<net::HttpExchange> exchange) {
  const std::string_view path = request.path();
  if (path.starts_with("/v1/")) return inference_.handle(std::move(request), std::move(exchange));
  if (path.starts_with("/api/")) return handle_admin(std::move(request), std::move(exchange), Try::first);
  if (handle_health(request, exchange)) return;
  exchange->respond_error(404, "no such address; models answer under /v1/, administration under /api/v1/");
}

void Router::State::handle_admin(net::HttpRequest&& request, std::shared_ptr<net::HttpExchange> exchange, Try attempt) {
  const auto known = catalog_.snapshot();
  const auto look_again = [this, &request, &exchange] {
    catalog_.refresh_for_unknown([this, request = std::move(request), exchange = std::move(exchange)]() mutable {
      handle_admin(std::move(request), std::move(exchange), Try::refreshed);
    });
  };
  if (!known && attempt == Try::first) return look_again();
  if (!known) return exchange->respond_error(503, "the catalog could not be read yet; is the object store reachable?");
  const Admittance admitted = admit_caller(request, *known);
  switch (admitted.entry) {
    case Entry::granted:
      return admin_(std::move(request), std::move(exchange),
                    Caller{.workspace = admitted.key->workspace, .key_id = admitted.key->id});
    case Entry::no_key:
      return exchange->respond_error(401, "no API key: send it as \"Authorization: Bearer <key>\"");
    case Entry::other_workspace:
      return exchange->respond_error(403, "the API key belongs to another workspace");
    case Entry::unknown_key:
      if (attempt == Try::refreshed) return exchange->respond_error(401, "the API key is not known or was revoked");
      look_again();
  }
}

/// Ours, and behind them those of the node's imagefs, which serves no address of its own.
void Router::State::answer_metrics(const std::shared_ptr<net::HttpExchange>& exchange) {
  const auto answer = [this, exchange](const std::string& more) {
    exchange->respond({.body = metrics_text() + more, .content_type = "text/plain; version=0.0.4; charset=utf-8"});
  };
  if (!dispatcher_.node().is_up()) return answer("");
  dispatcher_.node().call({.method = "metrics",
                           .params = "{}",
                           .progress = {},
                           .done =
                               [answer](const Result<std::string>& value) {
                                 const auto json = nlohmann::json::parse(value.value_or(""), nullptr, false);
                                 answer(json.is_object() ? json.value("text", "") : "");
                               },
                           .deadline = Deadline::after(loop_.now(), kMetricsPatience)});
}

bool Router::State::handle_health(const net::HttpRequest& request, const std::shared_ptr<net::HttpExchange>& exchange) {
  const std::string_view path = request.path();
  if (path != "/livez" && path != "/readyz" && path != "/health" && path != "/metrics") return false;
  if (request.method != "GET" && request.method != "HEAD") {
    exchange->respond({.status = 405, .body = "{\"error\":\"this address takes GET\"}", .headers = {{"Allow", "GET"}}});
    return true;
  }
  const std::string unready = unready_reason();
  if (path == "/livez") {
    exchange->respond({.body = "{\"status\":\"live\"}"});
  } else if (path == "/metrics") {
    answer_metrics(exchange);
  } else if (path == "/health") {
    exchange->respond({.status = unready.empty() ? 200 : 503, .body = health_json(unready)});
  } else if (unready.empty()) {
    exchange->respond({.body = "{\"status\":\"ready\"}"});
  } else {
    exchange->respond_error(503, unready);
  }
  return true;
}

/// Ready: it knows the catalog, and a node is there to run models.
std::string Router::State::unready_reason() const {
  if (!catalog_.snapshot()) return "the catalog could not be read yet; is the object store reachable?";
  if (!dispatcher_.node_ready()) return "no node is connected to this router";
  return {};
}

std::string Router::State::health_json(const std::string& unready) const {
  const bool read = catalog_.snapshot() != nullptr;
  const int64_t age_ms = read ? std::chrono::duration_cast<milliseconds>(catalog_.age()).count() : -1;
  std::string json = fmt::format(
      R"({{"status":"{}","catalog_read":{},"catalog_age_ms":{},"node_connected":{},"pending_requests":{},"connections":{})",
      unready.empty() ? "ready" : "not ready", read, age_ms, dispatcher_.node().is_up(), dispatcher_.pending(),
      server_->connections());
  if (!unready.empty()) json += ",\"error\":" + net::json_quote(unready);
  return json + "}";
}

std::string Router::State::metrics_text() {
  dispatcher_.update_gauges();
  metrics_.gauge("hearth_http_connections", "Open client connections.")
      .set(static_cast<int64_t>(server_->connections()));
  metrics_.gauge("hearth_pending_requests", "Requests not answered yet.")
      .set(static_cast<int64_t>(dispatcher_.pending()));
  metrics_.gauge("hearth_node_connected", "Whether a node is connected.").set(dispatcher_.node().is_up() ? 1 : 0);
  metrics_.gauge("hearth_catalog_age_ms", "Since the catalog was last read.")
      .set(std::chrono::duration_cast<milliseconds>(catalog_.age()).count());
  return metrics_.expose();
}

Router::Router(std::unique_ptr<State> state) : state_(std::move(state)) {}
Router::~Router() = default;

Result<std::unique_ptr<Router>> Router::start(net::EventLoop& loop, const Config& config,
                                              std::shared_ptr<blob::ObjectStore> store, const MakeAdmin& make_admin) {
  UniqueFd listening(config.listen_fd);
  if (!listening) {
    TRY(listening, net::listen_tcp(config.listen));
  }
  auto state = std::make_unique<State>(loop, config, std::move(store));
  TRY(state->address_, net::local_address(listening.get()));
  state->admin_ = make_admin(*state);
  State* raw = state.get();
  TRY(state->server_,
      net::HttpServer::start(loop, std::move(listening), {.body_limit_bytes = config.body_limit_bytes},
                             [raw](net::HttpRequest&& request, std::shared_ptr<net::HttpExchange> exchange) {
                               raw->handle(std::move(request), std::move(exchange));
                             }));
  state->begin();
  return std::unique_ptr<Router>(new Router(std::move(state)));
}

void Router::record_to(std::function<void(const record::RequestRecord&)> record) {
  state_->inference_.record_to(std::move(record));
}

const std::string& Router::address() const {
  return state_->address_;
}

void Router::drain(std::function<void()> drained) {
  state_->server_->drain(std::move(drained));
}

}  // namespace hearth::router
