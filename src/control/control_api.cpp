#include "control/control_api.hpp"

#include "base/log.hpp"
#include "control/handlers.hpp"

#include <algorithm>
#include <array>
#include <exception>
#include <optional>
#include <string_view>
#include <utility>

namespace hearth::control {
namespace {

constexpr std::string_view kPrefix = "/api/v1/";

using Handler = Answer (*)(Control&, CallPtr);

struct RouteEntry {
  std::string_view method;
  std::string_view pattern;  // below kPrefix; {} takes one segment
  Handler handler;
};

constexpr std::array kRoutes{
    RouteEntry{"POST", "uploads", post_upload_session},
    RouteEntry{"POST", "uploads/missing", post_uploads_missing},
    RouteEntry{"PUT", "uploads/{}", put_upload},
    RouteEntry{"POST", "deployments", post_deployment},
    RouteEntry{"GET", "operations/{}/events", stream_operation},
    RouteEntry{"GET", "images", get_images},
    RouteEntry{"POST", "images", post_image},
    RouteEntry{"GET", "images/{}", get_image},
    RouteEntry{"GET", "images/{}/report", get_image_report},
    RouteEntry{"POST", "store/du", post_store_du},
    RouteEntry{"POST", "store/gc", post_store_gc},
    RouteEntry{"POST", "store/verify", post_store_verify},
    RouteEntry{"GET", "models", get_models},
    RouteEntry{"DELETE", "models/{}", delete_model},
    RouteEntry{"GET", "models/{}/aliases", get_aliases},
    RouteEntry{"PUT", "models/{}/aliases/{}", put_alias},
    RouteEntry{"DELETE", "models/{}/aliases/{}", delete_alias},
    RouteEntry{"GET", "models/{}/logs", stream_logs},
    RouteEntry{"GET", "models/{}/cold-start", get_cold_start},
    RouteEntry{"GET", "keys", get_keys},
    RouteEntry{"POST", "keys", post_key},
    RouteEntry{"DELETE", "keys/{}", delete_key},
    RouteEntry{"GET", "status", get_status},
    RouteEntry{"GET", "usage", get_usage},
};

std::string_view next_segment(std::string_view& path) {
  const size_t slash = std::min(path.find('/'), path.size());
  const std::string_view segment = path.substr(0, slash);
  path.remove_prefix(std::min(slash + 1, path.size()));
  return segment;
}

/// The arguments when the path matches.
std::optional<std::vector<std::string>> match(std::string_view pattern, std::string_view path) {
  if (std::ranges::count(pattern, '/') != std::ranges::count(path, '/')) return std::nullopt;
  std::vector<std::string> arguments;
  while (!pattern.empty() || !path.empty()) {
    const std::string_view expected = next_segment(pattern);
    const std::string_view got = next_segment(path);
    if (expected == "{}") {
      auto decoded = net::percent_decode(got);
      if (!decoded || decoded->empty()) return std::nullopt;
      arguments.push_back(std::move(*decoded));
    } else if (expected != got) {
      return std::nullopt;
    }
  }
  return arguments;
}

net::Task<> answer(Control& control, CallPtr call, Handler handler) {
  const std::shared_ptr<net::HttpExchange> exchange = call->exchange;
  Result<Reply> result = fail(ErrorCode::internal, "the request could not be answered; the router's log says why");
  try {
    result = co_await handler(control, call);
  } catch (const std::exception& error) {  // of the JSON library: our fault, and no reason to stop serving
    log_error("an admin request failed", {{"target", call->request.target}, {"error", error.what()}});
  }
  if (exchange->is_closed()) co_return;  // a stream that has answered by itself, or the client has gone
  const Reply reply = result ? std::move(*result) : error_reply(result.error());
  exchange->respond({.status = reply.status, .body = reply.body});
}

}  // namespace

ControlApi::ControlApi(Host& host) : control_(std::make_unique<Control>(host, OperationRegistry(host.loop()))) {}
ControlApi::~ControlApi() = default;

void ControlApi::handle(net::HttpRequest&& request, std::shared_ptr<net::HttpExchange> exchange, Caller caller) {
  const std::string_view whole = request.path();
  const std::string path(whole.starts_with(kPrefix) ? whole.substr(kPrefix.size()) : "");
  std::string allowed;
  for (const RouteEntry& route : kRoutes) {
    auto arguments = match(route.pattern, path);
    if (!arguments) continue;
    if (route.method != request.method) {
      allowed += (allowed.empty() ? "" : ", ") + std::string(route.method);
      continue;
    }
    auto call = std::make_shared<AdminCall>(
        AdminCall{std::move(request), std::move(exchange), std::move(caller), std::move(*arguments)});
    control_->host.loop().spawn(answer(*control_, std::move(call), route.handler));
    return;
  }
  if (allowed.empty()) return exchange->respond_error(404, "no such address; api/openapi.yaml lists what there is");
  exchange->respond(
      {.status = 405, .body = "{\"error\":\"this address takes " + allowed + "\"}", .headers = {{"Allow", allowed}}});
}

}  // namespace hearth::control
