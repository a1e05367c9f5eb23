// Node: calls of routers that are no inference: status and forget here, build and import_image in the call pool.
#include "base/log.hpp"
#include "node/json_fields.hpp"
#include "node/node.hpp"
#include "wire/frame_writer.hpp"

#include <utility>

namespace hearth::node {

namespace {

/// ErrorCode → the status of a result; the code itself travels beside the message.
std::string failure_json(const Error& error) {
  return to_text({{"error", error.message}, {"code", to_string(error.code)}});
}

}  // namespace

void Node::on_call(RouterSession& session, const wire::Request& request) {
  const nlohmann::json json = nlohmann::json::parse(request.payload, nullptr, false);
  const std::string method = text_field(json, "method");
  const nlohmann::json* given = field(json, "params");
  std::string params = given != nullptr ? to_text(*given) : "{}";
  if (calls_.contains(request.id)) return;
  calls_[request.id] = {&session, {}};
  if (method == "status") return finish_call(request.id, status_json());
  if (method == "forget") return finish_call(request.id, forget(params));
  if (const auto call = options_.calls.find(method); call != options_.calls.end()) {
    return run_blocking(request.id, call->second, std::move(params));
  }
  finish_call(request.id, fail(ErrorCode::invalid_argument, "the node has no method '" + method + "'"));
}

void Node::run_blocking(uint64_t id, const BlockingCall& call, std::string params) {
  const auto progress = [&loop = parts_.loop, this, alive = alive_, id](std::string news) {
    loop.post([this, alive, id, news = std::move(news)] {
      if (!*alive) return;
      const auto found = calls_.find(id);
      if (found == calls_.end()) return;
      std::string out;
      wire::append_progress(out, id, news);
      found->second.session->send(std::move(out));
    });
  };
  CallControl control{.progress = progress, .stop = calls_[id].stop.get_token()};
  parts_.call_pool.run_then(
      [call, params = std::move(params), control = std::move(control)] { return call(params, control); },
      [this, alive = alive_, id](const Result<std::string>& result) {
        if (*alive) finish_call(id, result);
      });
}

/// CANCEL of a call: it ends when it sees the wish, and is answered then.
bool Node::stop_call(const RouterSession& session, uint64_t id) {
  const auto found = calls_.find(id);
  if (found == calls_.end() || found->second.session != &session) return false;
  found->second.stop.request_stop();
  return true;
}

void Node::finish_call(uint64_t id, const Result<std::string>& result) {
  const auto found = calls_.find(id);
  if (found == calls_.end()) return;  // its router is gone
  RouterSession* session = found->second.session;
  calls_.erase(found);
  const std::string value = result ? *result : failure_json(result.error());
  const wire::Status status = result ? wire::Status::ok : wire::Status::raised;
  session->deliver({.id = id, .status = status, .batch = 0}, {.value = value}, {});
  session->flush();
}

Result<std::string> Node::forget(const std::string& params) {
  const nlohmann::json json = nlohmann::json::parse(params, nullptr, false);
  const ReplicaKey key{{text_field(json, "workspace"), text_field(json, "model"), text_field(json, "branch")},
                       static_cast<uint32_t>(integer_field(json, "version"))};
  const auto found = replicas_.find(key);
  if (found != replicas_.end()) found->second->stop("the version was removed");
  return std::string("{}");
}

}  // namespace hearth::node
