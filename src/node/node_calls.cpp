// Node: calls of routers that are no inference: status, forget and start_report here, those that block in pools of
// their own.
#include "base/log.hpp"
#include "node/json_fields.hpp"
#include "node/node.hpp"
#include "node/start_report.hpp"
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
  if (method == "start_report") return report_start(request.id, params);
  if (const auto call = find_call(method)) return run_blocking(request.id, *call, std::move(params));
  finish_call(request.id, fail(ErrorCode::invalid_argument, "the node has no method '" + method + "'"));
}

std::optional<Node::PooledCall> Node::find_call(const std::string& method) {
  if (const auto call = options_.calls.find(method); call != options_.calls.end()) {
    return PooledCall{call->second, parts_.call_pool};
  }
  if (const auto call = options_.store_calls.find(method); call != options_.store_calls.end()) {
    return PooledCall{call->second, options_.store_pool != nullptr ? *options_.store_pool : parts_.call_pool};
  }
  return std::nullopt;
}

void Node::run_blocking(uint64_t id, const PooledCall& call, std::string params) {
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
  call.pool.run_then(
      [call = call.call, params = std::move(params), control = std::move(control)] { return call(params, control); },
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

/// Of the version that was started last, if none is named.
void Node::report_start(uint64_t id, const std::string& params) {
  const nlohmann::json json = nlohmann::json::parse(params, nullptr, false);
  const catalog::BranchRef branch{text_field(json, "workspace"), text_field(json, "model"), text_field(json, "branch")};
  const auto version = static_cast<uint32_t>(integer_field(json, "version"));
  std::shared_ptr<Replica> last;
  for (const auto& [key, replica] : replicas_) {
    if (key.branch != branch || (version != 0 && key.version != version) || !replica->version()) continue;
    if (last == nullptr || replica->start_began() >= last->start_began()) last = replica;
  }
  if (last == nullptr) {
    return finish_call(id, fail(ErrorCode::not_found, "node " + options_.id + " remembers no start of " + branch.model +
                                                          " on branch " + branch.branch));
  }
  StartFacts facts{.node = options_.id,
                   .key = last->key(),
                   .state = std::string(policy::to_string(last->state())),
                   .began = std::nullopt,
                   .took_ms = last->start_ms()};
  if (const auto began = last->start_began()) {
    facts.began = wall_now() - std::chrono::duration_cast<WallTime::duration>(mono_now() - *began);
  }
  parts_.pool.run_then(
      [&launcher = parts_.launcher, facts = std::move(facts), record = *last->version()]() -> Result<std::string> {
        return start_report(facts, launcher.traces(record));
      },
      [this, alive = alive_, id](const Result<std::string>& report) {
        if (*alive) finish_call(id, report);
      });
}

}  // namespace hearth::node
